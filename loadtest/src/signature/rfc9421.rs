//! RFC 9421 as Mastodon and Fedify use it: `@method`, `@target-uri`, and `content-digest` where
//! there is a body.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use http::Method;

use super::{Claim, Refusal, RequestView, Scheme, digest, fields};

/// How far a clock may be ahead.
const SKEW: Duration = Duration::from_hours(1);

/// How old a signature without `expires` may be: five minutes and the skew.
const OLDEST: Duration = Duration::from_mins(65);

/// Reads and checks everything but the signature itself. With several labels the first one
/// that can be checked counts.
pub fn claim(request: &RequestView<'_>, now: SystemTime) -> Result<Claim, Refusal> {
    let inputs = request.header("signature-input").unwrap_or_default();
    let signatures = request.header("signature").unwrap_or_default();
    let inputs = fields::dictionary(&inputs).ok_or(Refusal::Malformed("Signature-Input"))?;
    let signatures = fields::dictionary(&signatures).ok_or(Refusal::Malformed("Signature"))?;
    let mut refusal = Refusal::Malformed("no label in both headers");
    for input in inputs {
        let Some(signature) = signatures.iter().find(|member| member.key == input.key) else {
            continue;
        };
        match claim_of(request, input.value, signature.value, now) {
            Ok(claim) => return Ok(claim),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

fn claim_of(
    request: &RequestView<'_>,
    input: &str,
    signature: &str,
    now: SystemTime,
) -> Result<Claim, Refusal> {
    let list = fields::inner_list(input).ok_or(Refusal::Malformed("Signature-Input"))?;
    let signature = fields::byte_sequence(signature).ok_or(Refusal::Malformed("Signature"))?;
    let key_id = list
        .parameter("keyid")
        .ok_or(Refusal::Malformed("no keyid"))?
        .to_owned();
    if let Some(algorithm) = list.parameter("alg")
        && algorithm != "rsa-v1_5-sha256"
    {
        return Err(Refusal::Unsupported(algorithm.to_owned()));
    }
    if let Some((name, suffix)) = list.items.iter().find(|(_, suffix)| !suffix.is_empty()) {
        return Err(Refusal::Unsupported(format!("{name}{suffix}")));
    }
    check_coverage(&list, request)?;
    check_window(&list, now)?;
    if let Some(header) = request.header("content-digest") {
        digest::check_content(&header, request.body)?;
    }
    let names: Vec<&str> = list.items.iter().map(|(name, _)| name.as_str()).collect();
    let base = base(request, &names, input)?;
    Ok(Claim {
        scheme: Scheme::Rfc9421,
        key_id,
        base: base.into_bytes(),
        signature,
    })
}

/// The text that is signed. `parameters` is the member's own raw text.
pub fn base(
    request: &RequestView<'_>,
    covered: &[&str],
    parameters: &str,
) -> Result<String, Refusal> {
    let mut text = String::new();
    for (index, name) in covered.iter().enumerate() {
        if covered[..index].contains(name) {
            return Err(Refusal::Malformed("a component twice"));
        }
        let _ = writeln!(text, "\"{name}\": {}", component(request, name)?);
    }
    let _ = write!(text, "\"@signature-params\": {parameters}");
    Ok(text)
}

fn component(request: &RequestView<'_>, name: &str) -> Result<String, Refusal> {
    let (path, query) = match request.target.split_once('?') {
        Some((path, query)) => (path, query),
        None => (request.target, ""),
    };
    let host = request.host.to_ascii_lowercase();
    let value = match name {
        "@method" => request.method.as_str().to_owned(),
        "@target-uri" => format!("{}://{host}{}", request.scheme, request.target),
        "@authority" => host,
        "@scheme" => request.scheme.to_owned(),
        "@request-target" => request.target.to_owned(),
        "@path" => path.to_owned(),
        "@query" => format!("?{query}"),
        derived if derived.starts_with('@') => {
            return Err(Refusal::Unsupported(derived.to_owned()));
        }
        "host" => request.host.to_owned(),
        header => request
            .header(header)
            .ok_or_else(|| Refusal::Absent(header.to_owned()))?,
    };
    Ok(value)
}

fn check_coverage(list: &fields::InnerList, request: &RequestView<'_>) -> Result<(), Refusal> {
    let covers = |name: &str| list.items.iter().any(|(item, _)| item == name);
    if !covers("@method") {
        return Err(Refusal::NotCovered("@method"));
    }
    let parts = covers("@authority") && (covers("@request-target") || covers("@path"));
    if !covers("@target-uri") && !parts {
        return Err(Refusal::NotCovered("@target-uri"));
    }
    if request.method == Method::POST && !covers("content-digest") {
        return Err(Refusal::NotCovered("content-digest"));
    }
    Ok(())
}

fn check_window(list: &fields::InnerList, now: SystemTime) -> Result<(), Refusal> {
    let time = |name: &'static str| -> Result<Option<SystemTime>, Refusal> {
        let Some(text) = list.parameter(name) else {
            return Ok(None);
        };
        let seconds = text.parse().map_err(|_| Refusal::Malformed("a time"))?;
        Ok(Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
    };
    let created = time("created")?.ok_or(Refusal::Window("no created"))?;
    if created > now + SKEW {
        return Err(Refusal::Window("signed in the future"));
    }
    match time("expires")? {
        Some(end) if now > end + SKEW => Err(Refusal::Window("expired")),
        None if now > created + OLDEST => Err(Refusal::Window("expired")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn the_base_of_appendix_b_is_reproduced() {
        // RFC 9421 B.2.3 signs every kind of component; this is its published base, shortened
        // to the components that peers use.
        let mut headers = HeaderMap::new();
        headers.insert(
            "date",
            "Tue, 20 Apr 2021 02:07:55 GMT".parse().expect("value"),
        );
        headers.insert("content-type", "application/json".parse().expect("value"));
        let request = RequestView {
            method: &Method::POST,
            scheme: "https",
            host: "example.com",
            target: "/foo?param=Value&Pet=dog",
            headers: &headers,
            body: b"",
        };
        let parameters =
            r#"("date" "@method" "@path" "@query" "@authority");created=1618884473;keyid="k""#;
        let covered = ["date", "@method", "@path", "@query", "@authority"];
        assert_eq!(
            base(&request, &covered, parameters).expect("all present"),
            format!(
                "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@method\": POST\n\"@path\": /foo\n\
                 \"@query\": ?param=Value&Pet=dog\n\"@authority\": example.com\n\
                 \"@signature-params\": {parameters}"
            )
        );
    }

    #[test]
    fn an_absent_or_repeated_component_is_refused() {
        let headers = HeaderMap::new();
        let request = RequestView {
            method: &Method::GET,
            scheme: "http",
            host: "a.test",
            target: "/",
            headers: &headers,
            body: b"",
        };
        assert_eq!(
            base(&request, &["date"], ""),
            Err(Refusal::Absent("date".to_owned()))
        );
        assert!(base(&request, &["@path", "@path"], "").is_err());
        assert!(base(&request, &["@status"], "").is_err());
    }
}
