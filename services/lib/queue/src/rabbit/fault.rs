//! What the broker's refusals mean, in words that say what to do.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

use crate::QueueError;

/// What was being done, and to what.
#[derive(Debug, Clone, Copy)]
pub(super) enum Doing<'a> {
    Connecting { user: &'a str, vhost: &'a str },
    Declaring { queue: &'a str },
    Other(&'static str),
}

/// Sorts an error: `Refused` when waiting does not help, else `Unavailable`.
pub(super) fn explain(error: &lapin::Error, doing: Doing<'_>) -> QueueError {
    let ErrorKind::ProtocolError(protocol) = error.kind() else {
        return QueueError::Unavailable(error.to_string());
    };
    let said = protocol.get_message();
    let advice = match (protocol.kind(), doing) {
        // An unknown virtual host and one that the user may not enter come alike.
        (AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED), Doing::Connecting { user, vhost }) => {
            format!(
                "user {user} may not use the virtual host {vhost}; on the broker type: \
                 rabbitmqctl add_vhost '{vhost}' (if it is new) and then \
                 rabbitmqctl set_permissions -p '{vhost}' '{user}' '.*' '.*' '.*'"
            )
        }
        (AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED), Doing::Connecting { user, .. }) => {
            format!(
                "user {user} or its password is not accepted; check the URL, or on the broker \
                 type: rabbitmqctl change_password '{user}' (`guest` works from the broker's own \
                 machine only)"
            )
        }
        (AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED), _) => {
            "the user lacks rights; on the broker type: rabbitmqctl set_permissions -p VHOST USER \
             '.*' '.*' '.*'"
                .to_owned()
        }
        (AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED), Doing::Declaring { queue }) => {
            format!(
                "the queue {queue} exists with other settings; stop all nodes, empty it and type: \
                 rabbitmqctl delete_queue '{queue}' -p VHOST, or choose another prefix"
            )
        }
        (AMQPErrorKind::Hard(AMQPHardError::NOTIMPLEMENTED), _) => {
            "this broker is too old; RabbitMQ 3.10 or newer is needed".to_owned()
        }
        _ => return QueueError::Unavailable(error.to_string()),
    };
    let doing = match doing {
        Doing::Connecting { .. } => "connecting",
        Doing::Declaring { .. } => "declaring",
        Doing::Other(what) => what,
    };
    QueueError::Refused(format!("{doing}: {advice} (RabbitMQ said: {said})"))
}
