//! Compiles the .proto files with protox, so that no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const FILES: [&str; 4] = [
        "tidegate/delivery/v1/egress.proto",
        "tidegate/delivery/v1/deliveries.proto",
        "tidegate/delivery/v1/hosts.proto",
        "tidegate/fanout/v1/timelines.proto",
    ];
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
