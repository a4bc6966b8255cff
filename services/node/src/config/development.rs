//! The development profile's defaults, where they depend on other settings.

use std::net::SocketAddr;

use toml::Value;

use super::layers::{Layers, Origin};

/// Of everything in `development.toml`.
pub(super) const ORIGIN: Origin = Origin::BuiltIn("development defaults");

/// What links omit.
const HTTP_PORT: u16 = 80;

/// Who only changes `http.listen` means the links too: the defaults of `instance.domain` and
/// `instance.base_url` take its port. What was said about them is left as it is, and so is
/// everything when the system is to choose a port, which nobody knows yet.
pub(super) fn follow_the_port(layers: &mut Layers) -> anyhow::Result<()> {
    // What is no address is refused later, with its place.
    let Ok(listen) = layers.text("http.listen").parse::<SocketAddr>() else {
        return Ok(());
    };
    let host = match listen.port() {
        0 => return Ok(()),
        HTTP_PORT => "localhost".to_owned(),
        port => format!("localhost:{port}"),
    };
    let base_url = format!("http://{host}");
    for (key, value) in [("instance.domain", host), ("instance.base_url", base_url)] {
        if layers.origin(key) == Some(&ORIGIN) {
            layers.set(key, Value::String(value), ORIGIN)?;
        }
    }
    Ok(())
}
