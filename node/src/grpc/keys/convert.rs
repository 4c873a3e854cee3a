//! Between the messages of `keys.proto` and the operations of a partition.

use flin_groups::requests::RequestError;
use flin_proto::keys::set_request::Condition as WireCondition;
use flin_proto::keys::{GetResponse, SetRequest};
use flin_state::operation::{Condition, Expiry, Refusal, Reply, Write};
use tonic::{Code, Status};

/// The write that sets a key.
pub(super) fn set(request: SetRequest) -> Result<Write, Status> {
    let SetRequest { key, value, ttl_ms, condition } = request;
    let condition = match WireCondition::try_from(condition) {
        Ok(WireCondition::Always) => Condition::Always,
        Ok(WireCondition::IfAbsent) => Condition::IfAbsent,
        Ok(WireCondition::IfPresent) => Condition::IfPresent,
        Err(_) => {
            return Err(Status::invalid_argument(format!("condition {condition} is not known")));
        }
    };
    let expiry = match ttl_ms {
        None => Expiry::None,
        Some(ms) => match i64::try_from(ms) {
            Ok(ms) if ms > 0 => Expiry::In(ms),
            _ => {
                let words = format!("ttl_ms is {ms}, it must be from 1 to {}", i64::MAX);
                return Err(Status::invalid_argument(words));
            }
        },
    };
    Ok(Write::Set { key, value, expiry, condition, return_old: false })
}

/// What a read of a value with its life found.
pub(super) fn found(reply: Reply) -> Result<GetResponse, Status> {
    let parts = match reply {
        Reply::Nil => return Ok(GetResponse::default()),
        Reply::Array(parts) => parts,
        reply => return Err(unexpected(&reply)),
    };
    match <[Reply; 2]>::try_from(parts) {
        Ok([Reply::Bytes(value), Reply::Nil]) => {
            Ok(GetResponse { found: true, value, ttl_ms: None })
        }
        Ok([Reply::Bytes(value), Reply::Int(ms)]) => {
            Ok(GetResponse { found: true, value, ttl_ms: Some(ms.max(0).unsigned_abs()) })
        }
        Ok([first, _]) => Err(unexpected(&first)),
        Err(parts) => Err(unexpected(&Reply::Array(parts))),
    }
}

/// Whether a conditional write took effect.
pub(super) fn applied(reply: &Reply) -> Result<bool, Status> {
    match reply {
        Reply::Ok => Ok(true),
        Reply::Nil => Ok(false),
        reply => Err(unexpected(reply)),
    }
}

/// A number.
pub(super) fn number(reply: &Reply) -> Result<i64, Status> {
    match reply {
        Reply::Int(number) => Ok(*number),
        reply => Err(unexpected(reply)),
    }
}

/// How many of something.
pub(super) fn count(reply: &Reply) -> Result<u64, Status> {
    number(reply).map(|count| count.max(0).unsigned_abs())
}

/// The one reply to one operation.
pub(super) fn only(replies: Vec<Reply>) -> Result<Reply, Status> {
    match <[Reply; 1]>::try_from(replies) {
        Ok([Reply::Refused(why)]) => Err(refusal(why)),
        Ok([reply]) => Ok(reply),
        Err(replies) => Err(Status::internal(format!("{} replies to one request", replies.len()))),
    }
}

/// What a refused operation is told: a broken limit or shape, or a value that is not what it needs.
pub(super) fn refusal(refusal: Refusal) -> Status {
    let code = match refusal {
        Refusal::NotAnInteger | Refusal::Overflow => Code::FailedPrecondition,
        _ => Code::InvalidArgument,
    };
    Status::new(code, refusal.to_string())
}

/// What a failed request is told; only [`Code::Unknown`] leaves open whether it was done.
pub(super) fn failure(error: RequestError) -> Status {
    let words = error.to_string();
    match error {
        RequestError::NotHere { .. } | RequestError::TryLater(_) => Status::unavailable(words),
        RequestError::Unknown(_) => Status::unknown(words),
        RequestError::Refused(_) => Status::invalid_argument(words),
    }
}

/// A reply that the operation cannot have.
pub(super) fn unexpected(reply: &Reply) -> Status {
    match reply {
        Reply::Refused(why) => refusal(*why),
        reply => Status::internal(format!("the partition answered with {}", kind(reply))),
    }
}

/// The kind of a reply, without its content.
fn kind(reply: &Reply) -> &'static str {
    match reply {
        Reply::Ok => "ok",
        Reply::Nil => "nothing",
        Reply::Int(_) => "a number",
        Reply::Bytes(_) => "a value",
        Reply::Array(_) => "a list",
        Reply::Type(_) => "a type",
        Reply::Keys(_) | Reply::Pairs(_) => "a page",
        Reply::Refused(_) => "a refusal",
    }
}
