//! Roles recognise each other by a shared token in every call (rule R18), on top of whatever
//! the transport offers.

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

/// A connection to another role, as the node builds it: over TCP to all its replicas, or over a
/// pipe inside the process.
pub type Rpc = InterceptedService<Channel, RpcAuth>;

/// Adds the token to calls, and checks it on arrival.
#[derive(Clone)]
pub struct RpcAuth {
    bearer: MetadataValue<Ascii>,
}

impl RpcAuth {
    /// Calls carry `token`, which must be printable ASCII.
    pub fn new(token: &str) -> Result<Self, crate::ServiceError> {
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| {
            crate::ServiceError::new(
                crate::ErrorCode::InvalidArgument,
                "the token between roles must be printable ASCII",
            )
        })?;
        bearer.set_sensitive(true);
        Ok(Self { bearer })
    }

    /// The interceptor of a server that takes only calls with this token.
    pub fn required(self) -> RequireAuth {
        RequireAuth(self)
    }
}

impl Interceptor for RpcAuth {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.bearer.clone());
        Ok(request)
    }
}

/// Refuses calls without the token.
#[derive(Clone)]
pub struct RequireAuth(RpcAuth);

impl Interceptor for RequireAuth {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let given = request.metadata().get("authorization");
        let expected = self.0.bearer.as_encoded_bytes();
        match given {
            Some(given) if same_bytes(given.as_encoded_bytes(), expected) => Ok(request),
            _ => Err(Status::unauthenticated(
                "this call needs the token that all roles share (rpc.token)",
            )),
        }
    }
}

/// Compares without telling by its time where the first difference is.
fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens() {
        let mut client = RpcAuth::new("right").expect("printable");
        let mut server = client.clone().required();
        assert!(server.call(Request::new(())).is_err());
        let with_token = client.call(Request::new(())).expect("adds the token");
        assert!(server.call(with_token).is_ok());
        let mut stranger = RpcAuth::new("wrong").expect("printable");
        let with_other = stranger.call(Request::new(())).expect("adds the token");
        assert!(server.call(with_other).is_err());
    }
}
