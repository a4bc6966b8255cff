//! Just enough HTTP to talk to RabbitMQ's management interface on this machine.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// `guest:guest` in base64: RabbitMQ's default account, which works from loopback only.
const GUEST: &str = "Z3Vlc3Q6Z3Vlc3Q=";

/// Sends one request and returns the body of a 2xx answer. Blocks.
pub(crate) fn request(port: u16, method: &str, path: &str, body: &str) -> Result<String> {
    request_at((Ipv4Addr::LOCALHOST, port), method, path, body)
}

/// The same to a node that is not at loopback.
pub(crate) fn request_at(
    place: (Ipv4Addr, u16),
    method: &str,
    path: &str,
    body: &str,
) -> Result<String> {
    let mut stream = TcpStream::connect(place)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Basic {GUEST}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("an HTTP answer has a head")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(status.starts_with('2'), "{method} {path}: {head} {body}");
    Ok(body.to_owned())
}
