//! draft-cavage-http-signatures-12 as Mastodon and its kin use it.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;

use super::{Claim, Refusal, RequestView, Scheme, digest};

/// How far a clock may be ahead, and how much later than its end a signature is still taken:
/// one hour, as Mastodon grants.
const SKEW: Duration = Duration::from_hours(1);

/// How long a signature without `expires` lives.
const LIFETIME: Duration = Duration::from_mins(5);

/// The most that `expires` can ask for.
const LONGEST_LIFETIME: Duration = Duration::from_hours(12);

/// Parameters of a `Signature` header.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Parameters {
    key_id: String,
    algorithm: Option<String>,
    headers: Vec<String>,
    signature: Vec<u8>,
    created: Option<u64>,
    expires: Option<u64>,
}

/// Reads and checks everything but the signature itself.
pub fn claim(request: &RequestView<'_>, now: SystemTime) -> Result<Claim, Refusal> {
    if request.headers.get_all("signature").iter().count() > 1 {
        return Err(Refusal::Malformed("two Signature headers"));
    }
    let header = request
        .header("signature")
        .ok_or(Refusal::Malformed("no Signature"))?;
    let parameters = parse(&header)?;
    if let Some(algorithm) = &parameters.algorithm
        && !["rsa-sha256", "hs2019"].contains(&algorithm.as_str())
    {
        return Err(Refusal::Unsupported(algorithm.clone()));
    }
    check_coverage(&parameters, request)?;
    check_window(&parameters, request, now)?;
    if let Some(header) = request.header("digest") {
        digest::check_legacy(&header, request.body)?;
    }
    let covered: Vec<&str> = parameters.headers.iter().map(String::as_str).collect();
    let base = base(request, &covered, parameters.created, parameters.expires)?;
    Ok(Claim {
        scheme: Scheme::Cavage,
        key_id: parameters.key_id,
        base: base.into_bytes(),
        signature: parameters.signature,
    })
}

/// The text that is signed: one line per covered part.
pub fn base(
    request: &RequestView<'_>,
    covered: &[&str],
    created: Option<u64>,
    expires: Option<u64>,
) -> Result<String, Refusal> {
    let mut lines = Vec::with_capacity(covered.len());
    for name in covered {
        let absent = || Refusal::Absent((*name).to_owned());
        let value = match *name {
            "(request-target)" => {
                format!(
                    "{} {}",
                    request.method.as_str().to_ascii_lowercase(),
                    request.target
                )
            }
            "(created)" => created.ok_or_else(absent)?.to_string(),
            "(expires)" => expires.ok_or_else(absent)?.to_string(),
            "host" => request.host.to_owned(),
            header => request.header(header).ok_or_else(absent)?,
        };
        lines.push(format!("{name}: {value}"));
    }
    Ok(lines.join("\n"))
}

fn parse(header: &str) -> Result<Parameters, Refusal> {
    let mut parameters = Parameters::default();
    let mut seen: Vec<String> = Vec::new();
    for part in split_parameters(header).ok_or(Refusal::Malformed("quotes"))? {
        let (name, value) = part
            .split_once('=')
            .ok_or(Refusal::Malformed("parameter"))?;
        let name = name.trim();
        if seen.iter().any(|other| other == name) {
            return Err(Refusal::Malformed("a parameter twice"));
        }
        seen.push(name.to_owned());
        let value = value.trim().trim_matches('"');
        let number = || value.parse().map_err(|_| Refusal::Malformed("a time"));
        match name {
            "keyId" => value.clone_into(&mut parameters.key_id),
            "algorithm" => parameters.algorithm = Some(value.to_ascii_lowercase()),
            "headers" => {
                let names = value.split_ascii_whitespace().map(str::to_ascii_lowercase);
                parameters.headers = names.collect();
            }
            "signature" => {
                parameters.signature = STANDARD
                    .decode(value)
                    .map_err(|_| Refusal::Malformed("base64"))?;
            }
            "created" => parameters.created = Some(number()?),
            "expires" => parameters.expires = Some(number()?),
            _ => {}
        }
    }
    if parameters.key_id.is_empty() || parameters.signature.is_empty() {
        return Err(Refusal::Malformed("keyId and signature are required"));
    }
    if parameters.headers.is_empty() {
        parameters.headers.push("date".to_owned());
    }
    Ok(parameters)
}

fn split_parameters(header: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted) = (Vec::new(), 0, false);
    for (index, character) in header.char_indices() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(header[start..index].trim());
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(header[start..].trim());
    (!quoted).then_some(parts)
}

fn check_coverage(parameters: &Parameters, request: &RequestView<'_>) -> Result<(), Refusal> {
    let covers = |name: &str| parameters.headers.iter().any(|header| header == name);
    if !covers("(request-target)") {
        return Err(Refusal::NotCovered("(request-target)"));
    }
    if !covers("host") {
        return Err(Refusal::NotCovered("host"));
    }
    if !covers("date") && !covers("(created)") {
        return Err(Refusal::NotCovered("date"));
    }
    if request.method == Method::POST && !covers("digest") {
        return Err(Refusal::NotCovered("digest"));
    }
    Ok(())
}

fn check_window(
    parameters: &Parameters,
    request: &RequestView<'_>,
    now: SystemTime,
) -> Result<(), Refusal> {
    if request.headers.get_all("date").iter().count() > 1 {
        return Err(Refusal::Malformed("two Date headers"));
    }
    let epoch = SystemTime::UNIX_EPOCH;
    let signed_at = match (parameters.created, request.header("date")) {
        (Some(seconds), _) => epoch + Duration::from_secs(seconds),
        (None, Some(date)) => {
            httpdate::parse_http_date(&date).map_err(|_| Refusal::Malformed("Date"))?
        }
        (None, None) => return Err(Refusal::Window("no date at all")),
    };
    if signed_at > now + SKEW {
        return Err(Refusal::Window("signed in the future"));
    }
    let end = match parameters.expires {
        Some(seconds) => (epoch + Duration::from_secs(seconds)).min(signed_at + LONGEST_LIFETIME),
        None => signed_at + LIFETIME,
    };
    if end < signed_at {
        return Err(Refusal::Window("expires before it was made"));
    }
    if now > end + SKEW {
        return Err(Refusal::Window("expired"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_with_and_without_quotes() {
        let parameters = parse(
            r#"keyId="http://a.test/users/a#main-key",created=12,headers="Date Host", signature="YQ==""#,
        )
        .expect("well formed");
        assert_eq!(parameters.key_id, "http://a.test/users/a#main-key");
        assert_eq!(parameters.created, Some(12));
        assert_eq!(parameters.headers, ["date", "host"]);
        assert_eq!(parameters.signature, b"a");
    }

    #[test]
    fn what_cannot_be_read_is_malformed() {
        for header in [
            "",
            "keyId",
            r#"keyId="a"#,
            r#"keyId="a",signature="!!""#,
            r#"keyId="a",keyId="b",signature="YQ==""#,
            r#"keyId="a",signature="YQ==",created=soon"#,
        ] {
            assert!(
                matches!(parse(header), Err(Refusal::Malformed(_))),
                "{header}"
            );
        }
    }
}
