//! Taking an RFC 9421 signature apart.

use super::{
    SignatureError,
    digest::check_content_digest,
    sf::{self, Bare, Member, Parameters},
    target::Target,
    verify::{
        Algorithm, RequestParts, Scheme, SignedRequest, covered_host, covered_value, date_of,
        needs_digest, only,
    },
};

/// More signatures than this on one request are refused; one is usual, two when a proxy signs.
const MAX_SIGNATURES: usize = 4;

pub(super) fn parse(request: &RequestParts<'_>) -> Result<SignedRequest, SignatureError> {
    let inputs = sf::dictionary(&joined(request, "signature-input")?)
        .ok_or(SignatureError::Malformed("Signature-Input"))?;
    let signatures = sf::dictionary(&joined(request, "signature")?)
        .ok_or(SignatureError::Malformed("Signature"))?;
    if inputs.is_empty() || inputs.len() > MAX_SIGNATURES {
        return Err(SignatureError::Malformed("Signature-Input"));
    }
    // The first signature that covers enough counts; if none does, the first one's fault.
    let mut fault = None;
    for (label, input) in &inputs {
        let signature = signatures
            .iter()
            .find(|(name, _)| name == label)
            .and_then(|(_, member)| member.bytes())
            .filter(|bytes| !bytes.is_empty());
        let parsed = match signature {
            Some(signature) => one(request, input, signature),
            None => Err(SignatureError::Malformed("Signature")),
        };
        match parsed {
            Ok(parsed) => return Ok(parsed),
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    Err(fault.unwrap_or(SignatureError::Missing))
}

/// A dictionary may be spread over several headers.
fn joined(request: &RequestParts<'_>, name: &'static str) -> Result<String, SignatureError> {
    if !request.headers.contains_key(name) {
        return Err(SignatureError::Missing);
    }
    covered_value(request.headers, name)
}

fn one(
    request: &RequestParts<'_>,
    input: &Member,
    signature: Vec<u8>,
) -> Result<SignedRequest, SignatureError> {
    let Member::List(components, parameters) = input else {
        return Err(SignatureError::Malformed("Signature-Input"));
    };
    let algorithm = match text(parameters, "alg")? {
        None => Algorithm::OfKey,
        Some("rsa-v1_5-sha256") => Algorithm::RsaSha256,
        Some("ed25519") => Algorithm::Ed25519,
        Some(_) => return Err(SignatureError::Algorithm),
    };
    let created = seconds(parameters, "created")?.ok_or(SignatureError::NotCovered("created"))?;
    let expires = seconds(parameters, "expires")?;
    if expires.is_some_and(|expires| expires < created) {
        return Err(SignatureError::Malformed("expires before it was signed"));
    }
    let key_id = text(parameters, "keyid")?
        .filter(|id| !id.is_empty())
        .ok_or(SignatureError::Malformed("keyid"))?;
    let names = names(components)?;
    let target = Target::received(request.base, request.path_and_query)?;
    require_coverage(request, &target, &names)?;

    let mut signed_at = vec![created];
    if names.contains(&"date") {
        signed_at.push(date_of(request.headers)?);
    }
    if names.contains(&"content-digest") {
        check_content_digest(only(request.headers, "content-digest")?, request.body)?;
    }
    Ok(SignedRequest {
        scheme: Scheme::Rfc9421,
        key_id: key_id.to_owned(),
        algorithm,
        messages: vec![base(request, &target, &names, components, parameters)?],
        signature,
        signed_at,
        expires,
    })
}

/// The names of the covered components: each once, none with parameters (those select parts
/// of a message, which no server of the fediverse signs).
fn names(components: &[(Bare, Parameters)]) -> Result<Vec<&str>, SignatureError> {
    let mut names: Vec<&str> = Vec::with_capacity(components.len());
    for (component, parameters) in components {
        match component {
            Bare::Text(name)
                if parameters.is_empty()
                    && !names.contains(&name.as_str())
                    && !name.bytes().any(|byte| byte.is_ascii_uppercase()) =>
            {
                names.push(name);
            }
            _ => return Err(SignatureError::Malformed("covered components")),
        }
    }
    Ok(names)
}

/// Method, host, path and query must be covered, by `@target-uri` or by parts that amount to
/// it; and the digest of a body.
fn require_coverage(
    request: &RequestParts<'_>,
    target: &Target,
    names: &[&str],
) -> Result<(), SignatureError> {
    let has = |name: &str| names.contains(&name);
    if !has("@method") {
        return Err(SignatureError::NotCovered("@method"));
    }
    let host = has("@authority") || has("host");
    let query = has("@query") || target.query.is_none();
    let path = has("@request-target") || (has("@path") && query);
    let whole = has("@target-uri") || (host && path);
    if !whole {
        return Err(SignatureError::NotCovered("@target-uri"));
    }
    if needs_digest(request) && !has("content-digest") {
        return Err(SignatureError::NotCovered("content-digest"));
    }
    Ok(())
}

/// The text that was signed.
fn base(
    request: &RequestParts<'_>,
    target: &Target,
    names: &[&str],
    components: &[(Bare, Parameters)],
    parameters: &Parameters,
) -> Result<String, SignatureError> {
    let mut base = String::new();
    for name in names {
        let value = match *name {
            "@method" => request.method.as_str().to_owned(),
            "@target-uri" => target.uri(),
            "@authority" => target.authority.clone(),
            "@scheme" => target.scheme.clone(),
            "@request-target" => target.request_target(),
            "@path" => target.path.clone(),
            "@query" => format!("?{}", target.query.as_deref().unwrap_or_default()),
            "host" => covered_host(request, target)?,
            name if name.starts_with('@') => {
                return Err(SignatureError::Malformed("unknown component"));
            }
            name => covered_value(request.headers, name)?,
        };
        base.extend(["\"", name, "\": ", &value, "\n"]);
    }
    base.push_str("\"@signature-params\": (");
    for (index, (component, own)) in components.iter().enumerate() {
        if index > 0 {
            base.push(' ');
        }
        component.print(&mut base);
        sf::print_parameters(own, &mut base);
    }
    base.push(')');
    sf::print_parameters(parameters, &mut base);
    Ok(base)
}

fn text<'a>(parameters: &'a Parameters, name: &str) -> Result<Option<&'a str>, SignatureError> {
    match parameters.iter().find(|(other, _)| other == name) {
        None => Ok(None),
        Some((_, Bare::Text(text))) => Ok(Some(text)),
        Some(_) => Err(SignatureError::Malformed("signature parameters")),
    }
}

fn seconds(parameters: &Parameters, name: &str) -> Result<Option<i64>, SignatureError> {
    match parameters.iter().find(|(other, _)| other == name) {
        None => Ok(None),
        Some((_, Bare::Number(text))) => text
            .parse()
            .ok()
            .filter(|&seconds: &i64| seconds >= 0)
            .map(Some)
            .ok_or(SignatureError::Malformed("created or expires")),
        Some(_) => Err(SignatureError::Malformed("created or expires")),
    }
}

/// The text of the first signature, however little it covers: for the examples of the RFC,
/// which cover less than we demand.
#[cfg(test)]
pub(super) fn message_for_tests(request: &RequestParts<'_>) -> Option<String> {
    let inputs = sf::dictionary(only(request.headers, "signature-input").ok()?)?;
    let (_, Member::List(components, parameters)) = inputs.first()? else {
        return None;
    };
    let target = Target::received(request.base, request.path_and_query).ok()?;
    base(
        request,
        &target,
        &names(components).ok()?,
        components,
        parameters,
    )
    .ok()
}
