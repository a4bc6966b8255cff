//! Taking a draft-cavage signature apart.

use super::{
    SignatureError,
    digest::check_digest,
    target::Target,
    verify::{
        Algorithm, RequestParts, Scheme, SignedRequest, covered_host, covered_value, date_of,
        needs_digest, only,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A header longer than this is refused: a key of 8,192 bits makes 1,400 characters.
const MAX_BYTES: usize = 8 * 1024;

/// More covered headers than this are refused; the usual count is four or five.
const MAX_COVERED: usize = 32;

/// The parameters of a `Signature` header.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parameters {
    key_id: Option<String>,
    algorithm: Option<String>,
    headers: Option<String>,
    signature: Option<String>,
    created: Option<String>,
    expires: Option<String>,
}

pub(super) fn parse(request: &RequestParts<'_>) -> Result<SignedRequest, SignatureError> {
    if !request.headers.contains_key("signature") {
        return Err(SignatureError::Missing);
    }
    let parameters = parameters(only(request.headers, "signature")?)?;
    let algorithm = match parameters.algorithm.as_deref() {
        None | Some("hs2019") => Algorithm::OfKey,
        Some("rsa-sha256") => Algorithm::RsaSha256,
        Some(_) => return Err(SignatureError::Algorithm),
    };
    let created = parameters.created.as_deref().map(seconds).transpose()?;
    let expires = parameters.expires.as_deref().map(seconds).transpose()?;
    let covered = covered(parameters.headers.as_deref())?;
    require_coverage(request, &covered)?;

    let target = Target::received(request.base, request.path_and_query)?;
    let mut signed_at = Vec::new();
    let mut lines = Vec::with_capacity(covered.len());
    for name in &covered {
        let value = match *name {
            // Filled in below, with and without the query.
            "(request-target)" => String::new(),
            "(created)" => {
                // The draft ties the pseudo-headers to hs2019, so that an old verifier cannot
                // be talked into ignoring the time.
                let created = created
                    .filter(|_| algorithm == Algorithm::OfKey)
                    .ok_or(SignatureError::Malformed("created"))?;
                signed_at.push(created);
                created.to_string()
            }
            "(expires)" => expires
                .filter(|_| algorithm == Algorithm::OfKey)
                .ok_or(SignatureError::Malformed("expires"))?
                .to_string(),
            "date" => {
                signed_at.push(date_of(request.headers)?);
                covered_value(request.headers, "date")?
            }
            "host" => covered_host(request, &target)?,
            name if name.starts_with('(') => {
                return Err(SignatureError::Malformed("unknown pseudo-header"));
            }
            name => covered_value(request.headers, name)?,
        };
        lines.push((*name, value));
    }
    if let (Some(expires), Some(signed)) = (expires, signed_at.iter().max())
        && expires < *signed
    {
        return Err(SignatureError::Malformed("expires before it was signed"));
    }
    if covered.contains(&"digest") {
        check_digest(only(request.headers, "digest")?, request.body)?;
    }

    let signature = parameters
        .signature
        .and_then(|text| STANDARD.decode(text).ok())
        .filter(|bytes| !bytes.is_empty())
        .ok_or(SignatureError::Malformed("signature"))?;
    Ok(SignedRequest {
        scheme: Scheme::Cavage,
        key_id: parameters
            .key_id
            .filter(|id| !id.is_empty())
            .ok_or(SignatureError::Malformed("keyId"))?,
        algorithm,
        messages: messages(request, &target, &lines),
        signature,
        signed_at,
        expires,
    })
}

/// The text that was signed; a second one without the query, because older servers leave the
/// query out when they sign.
fn messages(request: &RequestParts<'_>, target: &Target, lines: &[(&str, String)]) -> Vec<String> {
    let method = request.method.as_str().to_ascii_lowercase();
    let mut targets = vec![target.request_target()];
    if target.query.is_some() {
        targets.push(target.path.clone());
    }
    targets
        .iter()
        .map(|path| {
            let lines: Vec<String> = lines
                .iter()
                .map(|(name, value)| match *name {
                    "(request-target)" => format!("(request-target): {method} {path}"),
                    name => format!("{name}: {value}"),
                })
                .collect();
            lines.join("\n")
        })
        .collect()
}

fn covered(headers: Option<&str>) -> Result<Vec<&str>, SignatureError> {
    // The draft's default, which covers too little for us.
    let names: Vec<&str> = headers.unwrap_or("date").split(' ').collect();
    let lower = |name: &&str| !name.is_empty() && !name.bytes().any(|b| b.is_ascii_uppercase());
    if names.len() > MAX_COVERED || !names.iter().all(lower) {
        return Err(SignatureError::Malformed("headers"));
    }
    let unique: std::collections::HashSet<&&str> = names.iter().collect();
    if unique.len() == names.len() {
        Ok(names)
    } else {
        Err(SignatureError::Malformed("headers"))
    }
}

fn require_coverage(request: &RequestParts<'_>, covered: &[&str]) -> Result<(), SignatureError> {
    for required in ["(request-target)", "host"] {
        if !covered.contains(&required) {
            return Err(SignatureError::NotCovered(required));
        }
    }
    if !covered.contains(&"date") && !covered.contains(&"(created)") {
        return Err(SignatureError::NotCovered("date"));
    }
    if needs_digest(request) && !covered.contains(&"digest") {
        return Err(SignatureError::NotCovered("digest"));
    }
    Ok(())
}

fn seconds(text: &str) -> Result<i64, SignatureError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SignatureError::Malformed("created or expires"));
    }
    text.parse()
        .map_err(|_| SignatureError::Malformed("created or expires"))
}

/// Reads `name="value"` and `name=123`, separated by commas. A name given twice is refused,
/// unknown names are passed over.
fn parameters(header: &str) -> Result<Parameters, SignatureError> {
    const BROKEN: SignatureError = SignatureError::Malformed("Signature");
    if header.len() > MAX_BYTES || !header.is_ascii() {
        return Err(BROKEN);
    }
    let mut parameters = Parameters::default();
    let mut unknown = std::collections::HashSet::new();
    let mut rest = header.trim();
    loop {
        let (name, after) = rest.split_once('=').ok_or(BROKEN)?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or(BROKEN)?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        let slot = match name.trim() {
            "keyId" => &mut parameters.key_id,
            "algorithm" => &mut parameters.algorithm,
            "headers" => &mut parameters.headers,
            "signature" => &mut parameters.signature,
            "created" => &mut parameters.created,
            "expires" => &mut parameters.expires,
            other if !other.is_empty() && unknown.insert(other) => &mut None,
            _ => return Err(BROKEN),
        };
        if slot.replace(value.trim().to_owned()).is_some() {
            return Err(BROKEN);
        }
        let after = after.trim_start();
        if after.is_empty() {
            return Ok(parameters);
        }
        rest = after.strip_prefix(',').ok_or(BROKEN)?.trim_start();
    }
}
