//! What operators see of hosts and deliveries, and how they steer them: all of it asked of the
//! delivery role. A token needs the scope and its owner the role: moderators may look, admins
//! and owners may act.

mod asked;
pub(crate) mod deliveries_list;
pub(crate) mod deliveries_purge;
pub(crate) mod deliveries_replay;
mod entities;
pub(crate) mod host_pause;
pub(crate) mod host_probe;
pub(crate) mod host_resume;
pub(crate) mod host_show;
pub(crate) mod hosts_list;
mod moved;
mod next_page;
mod steer;

use crate::auth::{Scope, User, UserRole};
use crate::error::ApiResult;

pub(crate) use asked::{answered, with_deadline};
pub(crate) use entities::from_millis;

/// 403 unless the person may look.
fn may_look(user: &User) -> ApiResult<()> {
    user.require(Scope::AdminRead)?;
    user.require_role(UserRole::Moderator)
}

/// 403 unless the person may act.
fn may_act(user: &User) -> ApiResult<()> {
    user.require(Scope::AdminWrite)?;
    user.require_role(UserRole::Admin)
}
