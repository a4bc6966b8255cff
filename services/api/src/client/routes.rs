//! The one table of the client API: every route, the scopes of which a token needs one, and how
//! far it is built. The router is made from it, and so is the page of what is covered.

use axum::Router;
use axum::routing::{MethodFilter, delete, get, patch, post, put};

use super::{accounts, admin, instance, misc, notifications, search, statuses, timelines, unbuilt};
use crate::auth::Scope;
use crate::state::App;

/// The methods that the client API knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    /// As requests spell it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// As the router spells it.
    pub(crate) const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// How far a route is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has a handler of its own.
    Built,
    /// Nothing of the kind can exist here yet: this JSON.
    Empty(&'static str),
    /// A single thing of a kind that cannot exist here yet: 404.
    Absent,
    /// A write, or a read without a true answer: 501.
    NotBuilt,
}

impl Answer {
    /// As the page of what is covered spells it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Empty(_) | Self::Absent => "empty",
            Self::NotBuilt => "not_built",
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) method: Verb,
    pub(crate) path: &'static str,
    /// A token needs one of these, or a parent of one; none means that any token will do.
    pub(crate) scopes: &'static [Scope],
    /// Whether anonymous visitors are turned away.
    pub(crate) needs_user: bool,
    pub(crate) answer: Answer,
}

const fn user(method: Verb, path: &'static str, scopes: &'static [Scope], answer: Answer) -> Entry {
    Entry {
        method,
        path,
        scopes,
        needs_user: true,
        answer,
    }
}

const fn anybody(
    method: Verb,
    path: &'static str,
    scopes: &'static [Scope],
    answer: Answer,
) -> Entry {
    Entry {
        method,
        path,
        scopes,
        needs_user: false,
        answer,
    }
}

use Answer::{Absent, Built, Empty, NotBuilt};
use Verb::{Delete, Get, Patch, Post, Put};

/// Every route of the client API. One row a line, so that it reads as the table that it is.
#[rustfmt::skip]
pub(crate) const ROUTES: &[Entry] = &[
    anybody(Get, "/api/v1/instance", &[], Built),
    anybody(Get, "/api/v2/instance", &[], Built),
    anybody(Get, "/api/v1/instance/rules", &[], Built),
    anybody(Get, "/api/v1/instance/extended_description", &[], Built),
    anybody(Get, "/api/v1/instance/privacy_policy", &[], Built),
    anybody(Get, "/api/v1/instance/languages", &[], Built),
    anybody(Get, "/api/v1/instance/peers", &[], Built),
    anybody(Get, "/api/v1/instance/activity", &[], Built),
    anybody(Get, "/api/v1/instance/domain_blocks", &[], Empty("[]")),
    anybody(Get, "/api/v1/instance/translation_languages", &[], Empty("{}")),
    anybody(Get, "/api/v1/instance/terms_of_service", &[], Absent),
    anybody(Get, "/api/v1/custom_emojis", &[], Empty("[]")),
    user(Get, "/api/v1/accounts/verify_credentials", &[Scope::Profile, Scope::ReadAccounts], Built),
    user(Patch, "/api/v1/accounts/update_credentials", &[Scope::WriteAccounts], Built),
    anybody(Get, "/api/v1/accounts/lookup", &[Scope::ReadAccounts], Built),
    user(Get, "/api/v1/accounts/search", &[Scope::ReadAccounts], Built),
    user(Get, "/api/v1/accounts/relationships", &[Scope::ReadFollows], Built),
    user(Get, "/api/v1/accounts/familiar_followers", &[Scope::ReadFollows], Built),
    anybody(Get, "/api/v1/accounts", &[Scope::ReadAccounts], Built),
    anybody(Get, "/api/v1/accounts/{id}", &[Scope::ReadAccounts], Built),
    anybody(Get, "/api/v1/accounts/{id}/statuses", &[Scope::ReadStatuses], Built),
    anybody(Get, "/api/v1/accounts/{id}/followers", &[Scope::ReadAccounts], Built),
    anybody(Get, "/api/v1/accounts/{id}/following", &[Scope::ReadAccounts], Built),
    anybody(Get, "/api/v1/accounts/{id}/featured_tags", &[Scope::ReadAccounts], Empty("[]")),
    anybody(Get, "/api/v1/accounts/{id}/endorsements", &[Scope::ReadAccounts], Empty("[]")),
    user(Get, "/api/v1/accounts/{id}/lists", &[Scope::ReadLists], Empty("[]")),
    user(Get, "/api/v1/accounts/{id}/identity_proofs", &[Scope::ReadAccounts], Empty("[]")),
    user(Post, "/api/v1/accounts/{id}/follow", &[Scope::WriteFollows], Built),
    user(Post, "/api/v1/accounts/{id}/unfollow", &[Scope::WriteFollows], Built),
    user(Post, "/api/v1/accounts/{id}/remove_from_followers", &[Scope::WriteFollows], Built),
    user(Post, "/api/v1/accounts/{id}/block", &[Scope::WriteBlocks], Built),
    user(Post, "/api/v1/accounts/{id}/unblock", &[Scope::WriteBlocks], Built),
    user(Post, "/api/v1/accounts/{id}/mute", &[Scope::WriteMutes], Built),
    user(Post, "/api/v1/accounts/{id}/unmute", &[Scope::WriteMutes], Built),
    user(Post, "/api/v1/accounts/{id}/note", &[Scope::WriteAccounts], Built),
    user(Post, "/api/v1/accounts/{id}/pin", &[Scope::WriteAccounts], NotBuilt),
    user(Post, "/api/v1/accounts/{id}/unpin", &[Scope::WriteAccounts], NotBuilt),
    user(Post, "/api/v1/accounts/{id}/endorse", &[Scope::WriteAccounts], NotBuilt),
    user(Post, "/api/v1/accounts/{id}/unendorse", &[Scope::WriteAccounts], NotBuilt),
    user(Get, "/api/v1/follow_requests", &[Scope::ReadFollows], Built),
    user(Post, "/api/v1/follow_requests/{id}/authorize", &[Scope::WriteFollows], Built),
    user(Post, "/api/v1/follow_requests/{id}/reject", &[Scope::WriteFollows], Built),
    user(Get, "/api/v1/blocks", &[Scope::ReadBlocks], Built),
    user(Get, "/api/v1/mutes", &[Scope::ReadMutes], Built),
    user(Get, "/api/v1/domain_blocks", &[Scope::ReadBlocks], Empty("[]")),
    user(Post, "/api/v1/domain_blocks", &[Scope::WriteBlocks], NotBuilt),
    user(Delete, "/api/v1/domain_blocks", &[Scope::WriteBlocks], NotBuilt),
    user(Get, "/api/v1/profile", &[Scope::Profile, Scope::ReadAccounts], NotBuilt),
    user(Patch, "/api/v1/profile", &[Scope::WriteAccounts], NotBuilt),
    user(Delete, "/api/v1/profile/avatar", &[Scope::WriteAccounts], NotBuilt),
    user(Delete, "/api/v1/profile/header", &[Scope::WriteAccounts], NotBuilt),
    user(Post, "/api/v1/statuses", &[Scope::WriteStatuses], Built),
    anybody(Get, "/api/v1/statuses", &[Scope::ReadStatuses], Built),
    anybody(Get, "/api/v1/statuses/{id}", &[Scope::ReadStatuses], Built),
    user(Put, "/api/v1/statuses/{id}", &[Scope::WriteStatuses], Built),
    user(Delete, "/api/v1/statuses/{id}", &[Scope::WriteStatuses], Built),
    anybody(Get, "/api/v1/statuses/{id}/context", &[Scope::ReadStatuses], Built),
    user(Get, "/api/v1/statuses/{id}/source", &[Scope::ReadStatuses], Built),
    anybody(Get, "/api/v1/statuses/{id}/history", &[Scope::ReadStatuses], Built),
    anybody(Get, "/api/v1/statuses/{id}/reblogged_by", &[Scope::ReadAccounts], Built),
    anybody(Get, "/api/v1/statuses/{id}/favourited_by", &[Scope::ReadAccounts], Built),
    user(Post, "/api/v1/statuses/{id}/favourite", &[Scope::WriteFavourites], Built),
    user(Post, "/api/v1/statuses/{id}/unfavourite", &[Scope::WriteFavourites], Built),
    user(Post, "/api/v1/statuses/{id}/reblog", &[Scope::WriteStatuses], Built),
    user(Post, "/api/v1/statuses/{id}/unreblog", &[Scope::WriteStatuses], Built),
    user(Post, "/api/v1/statuses/{id}/bookmark", &[Scope::WriteBookmarks], Built),
    user(Post, "/api/v1/statuses/{id}/unbookmark", &[Scope::WriteBookmarks], Built),
    user(Post, "/api/v1/statuses/{id}/pin", &[Scope::WriteAccounts], NotBuilt),
    user(Post, "/api/v1/statuses/{id}/unpin", &[Scope::WriteAccounts], NotBuilt),
    user(Post, "/api/v1/statuses/{id}/mute", &[Scope::WriteMutes], NotBuilt),
    user(Post, "/api/v1/statuses/{id}/unmute", &[Scope::WriteMutes], NotBuilt),
    user(Post, "/api/v1/statuses/{id}/translate", &[Scope::ReadStatuses], NotBuilt),
    user(Get, "/api/v1/statuses/{id}/quotes", &[Scope::ReadStatuses], Empty("[]")),
    user(Post, "/api/v1/statuses/{id}/quotes/{quote_id}/revoke", &[Scope::WriteStatuses], NotBuilt),
    user(Put, "/api/v1/statuses/{id}/interaction_policy", &[Scope::WriteStatuses], NotBuilt),
    anybody(Get, "/api/v1/polls/{id}", &[Scope::ReadStatuses], Absent),
    user(Post, "/api/v1/polls/{id}/votes", &[Scope::WriteStatuses], NotBuilt),
    user(Get, "/api/v1/scheduled_statuses", &[Scope::ReadStatuses], Empty("[]")),
    user(Get, "/api/v1/scheduled_statuses/{id}", &[Scope::ReadStatuses], Absent),
    user(Put, "/api/v1/scheduled_statuses/{id}", &[Scope::WriteStatuses], NotBuilt),
    user(Delete, "/api/v1/scheduled_statuses/{id}", &[Scope::WriteStatuses], NotBuilt),
    user(Post, "/api/v1/media", &[Scope::WriteMedia], NotBuilt),
    user(Post, "/api/v2/media", &[Scope::WriteMedia], NotBuilt),
    user(Get, "/api/v1/media/{id}", &[Scope::WriteMedia], Absent),
    user(Put, "/api/v1/media/{id}", &[Scope::WriteMedia], NotBuilt),
    user(Delete, "/api/v1/media/{id}", &[Scope::WriteMedia], NotBuilt),
    user(Get, "/api/v1/timelines/home", &[Scope::ReadStatuses], Built),
    anybody(Get, "/api/v1/timelines/public", &[Scope::ReadStatuses], Built),
    anybody(Get, "/api/v1/timelines/tag/{hashtag}", &[Scope::ReadStatuses], Built),
    user(Get, "/api/v1/timelines/list/{list_id}", &[Scope::ReadLists], Absent),
    anybody(Get, "/api/v1/timelines/link", &[Scope::ReadStatuses], Empty("[]")),
    user(Get, "/api/v1/favourites", &[Scope::ReadFavourites], Built),
    user(Get, "/api/v1/bookmarks", &[Scope::ReadBookmarks], Built),
    user(Get, "/api/v1/conversations", &[Scope::ReadStatuses], Empty("[]")),
    user(Delete, "/api/v1/conversations/{id}", &[Scope::WriteConversations], NotBuilt),
    user(Post, "/api/v1/conversations/{id}/read", &[Scope::WriteConversations], NotBuilt),
    user(Post, "/api/v1/conversations/{id}/unread", &[Scope::WriteConversations], NotBuilt),
    user(Get, "/api/v1/notifications", &[Scope::ReadNotifications], Built),
    user(Get, "/api/v1/notifications/unread_count", &[Scope::ReadNotifications], Built),
    user(Post, "/api/v1/notifications/clear", &[Scope::WriteNotifications], Built),
    user(Get, "/api/v1/notifications/requests", &[Scope::ReadNotifications], Empty("[]")),
    user(Get, "/api/v1/notifications/{id}", &[Scope::ReadNotifications], Built),
    user(Post, "/api/v1/notifications/{id}/dismiss", &[Scope::WriteNotifications], Built),
    anybody(Get, "/api/v2/search", &[Scope::ReadSearch], Built),
    anybody(Get, "/api/v1/tags/{name}", &[Scope::Read], Built),
    user(Post, "/api/v1/tags/{name}/follow", &[Scope::WriteFollows], NotBuilt),
    user(Post, "/api/v1/tags/{name}/unfollow", &[Scope::WriteFollows], NotBuilt),
    user(Post, "/api/v1/tags/{name}/feature", &[Scope::WriteAccounts], NotBuilt),
    user(Post, "/api/v1/tags/{name}/unfeature", &[Scope::WriteAccounts], NotBuilt),
    user(Get, "/api/v1/followed_tags", &[Scope::ReadFollows], Empty("[]")),
    user(Get, "/api/v1/featured_tags", &[Scope::ReadAccounts], Empty("[]")),
    user(Get, "/api/v1/featured_tags/suggestions", &[Scope::ReadAccounts], Empty("[]")),
    user(Post, "/api/v1/featured_tags", &[Scope::WriteAccounts], NotBuilt),
    user(Delete, "/api/v1/featured_tags/{id}", &[Scope::WriteAccounts], NotBuilt),
    user(Get, "/api/v1/markers", &[Scope::ReadStatuses], Built),
    user(Post, "/api/v1/markers", &[Scope::WriteStatuses], Built),
    user(Get, "/api/v1/preferences", &[Scope::ReadAccounts], Built),
    user(Get, "/api/v1/announcements", &[], Empty("[]")),
    user(Post, "/api/v1/announcements/{id}/dismiss", &[Scope::WriteAccounts], NotBuilt),
    user(Put, "/api/v1/announcements/{id}/reactions/{name}", &[Scope::WriteFavourites], NotBuilt),
    user(Delete, "/api/v1/announcements/{id}/reactions/{name}", &[Scope::WriteFavourites], NotBuilt),
    user(Get, "/api/v1/lists", &[Scope::ReadLists], Empty("[]")),
    user(Post, "/api/v1/lists", &[Scope::WriteLists], NotBuilt),
    user(Get, "/api/v1/lists/{id}", &[Scope::ReadLists], Absent),
    user(Put, "/api/v1/lists/{id}", &[Scope::WriteLists], NotBuilt),
    user(Delete, "/api/v1/lists/{id}", &[Scope::WriteLists], NotBuilt),
    user(Get, "/api/v1/lists/{id}/accounts", &[Scope::ReadLists], Absent),
    user(Post, "/api/v1/lists/{id}/accounts", &[Scope::WriteLists], NotBuilt),
    user(Delete, "/api/v1/lists/{id}/accounts", &[Scope::WriteLists], NotBuilt),
    user(Get, "/api/v1/filters", &[Scope::ReadFilters], Empty("[]")),
    user(Post, "/api/v1/filters", &[Scope::WriteFilters], NotBuilt),
    user(Get, "/api/v1/filters/{id}", &[Scope::ReadFilters], Absent),
    user(Put, "/api/v1/filters/{id}", &[Scope::WriteFilters], NotBuilt),
    user(Delete, "/api/v1/filters/{id}", &[Scope::WriteFilters], NotBuilt),
    user(Get, "/api/v2/filters", &[Scope::ReadFilters], Empty("[]")),
    user(Post, "/api/v2/filters", &[Scope::WriteFilters], NotBuilt),
    user(Get, "/api/v2/filters/{id}", &[Scope::ReadFilters], Absent),
    user(Put, "/api/v2/filters/{id}", &[Scope::WriteFilters], NotBuilt),
    user(Delete, "/api/v2/filters/{id}", &[Scope::WriteFilters], NotBuilt),
    user(Get, "/api/v2/filters/{id}/keywords", &[Scope::ReadFilters], Absent),
    user(Post, "/api/v2/filters/{id}/keywords", &[Scope::WriteFilters], NotBuilt),
    user(Get, "/api/v2/filters/keywords/{id}", &[Scope::ReadFilters], Absent),
    user(Put, "/api/v2/filters/keywords/{id}", &[Scope::WriteFilters], NotBuilt),
    user(Delete, "/api/v2/filters/keywords/{id}", &[Scope::WriteFilters], NotBuilt),
    user(Get, "/api/v2/filters/{id}/statuses", &[Scope::ReadFilters], Absent),
    user(Post, "/api/v2/filters/{id}/statuses", &[Scope::WriteFilters], NotBuilt),
    user(Get, "/api/v2/filters/statuses/{id}", &[Scope::ReadFilters], Absent),
    user(Delete, "/api/v2/filters/statuses/{id}", &[Scope::WriteFilters], NotBuilt),
    user(Get, "/api/v1/endorsements", &[Scope::ReadAccounts], Empty("[]")),
    anybody(Get, "/api/v1/trends/tags", &[], Empty("[]")),
    anybody(Get, "/api/v1/trends/statuses", &[], Empty("[]")),
    anybody(Get, "/api/v1/trends/links", &[], Empty("[]")),
    anybody(Get, "/api/v1/trends", &[], Empty("[]")),
    user(Get, "/api/v1/suggestions", &[Scope::Read], Empty("[]")),
    user(Get, "/api/v2/suggestions", &[Scope::Read], Empty("[]")),
    user(Delete, "/api/v1/suggestions/{id}", &[Scope::Write], NotBuilt),
    anybody(Get, "/api/v1/directory", &[], Empty("[]")),
    user(Post, "/api/v1/reports", &[Scope::WriteReports], NotBuilt),
    user(Get, "/api/v1/push/subscription", &[Scope::Push], Absent),
    user(Post, "/api/v1/push/subscription", &[Scope::Push], NotBuilt),
    user(Put, "/api/v1/push/subscription", &[Scope::Push], NotBuilt),
    user(Delete, "/api/v1/push/subscription", &[Scope::Push], NotBuilt),
    anybody(Get, "/api/v1/streaming", &[], Absent),
    anybody(Get, "/api/v1/streaming/health", &[], Built),
    anybody(Get, "/avatars/missing.png", &[], Built),
    user(Get, "/api/tidegate/v1/statuses/{id}/delivery", &[Scope::ReadStatuses], Built),
    user(Get, "/api/tidegate/v1/admin/hosts", &[Scope::AdminRead], Built),
    user(Get, "/api/tidegate/v1/admin/hosts/{host}", &[Scope::AdminRead], Built),
    user(Post, "/api/tidegate/v1/admin/hosts/{host}/pause", &[Scope::AdminWrite], Built),
    user(Post, "/api/tidegate/v1/admin/hosts/{host}/resume", &[Scope::AdminWrite], Built),
    user(Post, "/api/tidegate/v1/admin/hosts/{host}/probe", &[Scope::AdminWrite], Built),
    user(Get, "/api/tidegate/v1/admin/deliveries", &[Scope::AdminRead], Built),
    user(Post, "/api/tidegate/v1/admin/deliveries/replay", &[Scope::AdminWrite], Built),
    user(Post, "/api/tidegate/v1/admin/deliveries/purge", &[Scope::AdminWrite], Built),
];

/// The routes, without their state.
pub(crate) fn routes() -> Router<App> {
    let mut router = built();
    for entry in ROUTES {
        if let Some(handler) = unbuilt::handler(entry) {
            router = router.route(entry.path, handler);
        }
    }
    router
}

#[rustfmt::skip]
fn built() -> Router<App> {
    Router::new()
        .route("/api/v1/instance", get(instance::instance_info::v1))
        .route("/api/v2/instance", get(instance::instance_info::v2))
        .route("/api/v1/instance/rules", get(instance::texts::rules))
        .route("/api/v1/instance/extended_description", get(instance::texts::extended_description))
        .route("/api/v1/instance/privacy_policy", get(instance::texts::privacy_policy))
        .route("/api/v1/instance/languages", get(instance::languages::languages))
        .route("/api/v1/instance/peers", get(instance::peers::peers))
        .route("/api/v1/instance/activity", get(instance::activity::activity))
        .route("/api/v1/accounts/verify_credentials", get(accounts::verify_credentials::verify_credentials))
        .route("/api/v1/accounts/update_credentials", patch(accounts::update_credentials::update_credentials))
        .route("/api/v1/accounts/lookup", get(accounts::lookup::lookup))
        .route("/api/v1/accounts/search", get(accounts::search::search))
        .route("/api/v1/accounts/relationships", get(accounts::relationships::relationships))
        .route("/api/v1/accounts/familiar_followers", get(accounts::familiar_followers::familiar_followers))
        .route("/api/v1/accounts", get(accounts::list::list))
        .route("/api/v1/accounts/{id}", get(accounts::show::show))
        .route("/api/v1/accounts/{id}/statuses", get(accounts::statuses::statuses))
        .route("/api/v1/accounts/{id}/followers", get(accounts::follow_lists::followers))
        .route("/api/v1/accounts/{id}/following", get(accounts::follow_lists::following))
        .route("/api/v1/accounts/{id}/follow", post(accounts::follow::follow))
        .route("/api/v1/accounts/{id}/unfollow", post(accounts::unfollow::unfollow))
        .route("/api/v1/accounts/{id}/remove_from_followers", post(accounts::remove_from_followers::remove_from_followers))
        .route("/api/v1/accounts/{id}/block", post(accounts::block::block))
        .route("/api/v1/accounts/{id}/unblock", post(accounts::block::unblock))
        .route("/api/v1/accounts/{id}/mute", post(accounts::mute::mute))
        .route("/api/v1/accounts/{id}/unmute", post(accounts::mute::unmute))
        .route("/api/v1/accounts/{id}/note", post(accounts::note::note))
        .route("/api/v1/follow_requests", get(accounts::follow_requests::list))
        .route("/api/v1/follow_requests/{id}/authorize", post(accounts::follow_requests::authorize))
        .route("/api/v1/follow_requests/{id}/reject", post(accounts::follow_requests::reject))
        .route("/api/v1/blocks", get(accounts::blocks::blocks))
        .route("/api/v1/mutes", get(accounts::mutes::mutes))
        .route("/api/v1/statuses", post(statuses::create::create))
        .route("/api/v1/statuses", get(statuses::list::list))
        .route("/api/v1/statuses/{id}", get(statuses::show::show))
        .route("/api/v1/statuses/{id}", put(statuses::edit::edit))
        .route("/api/v1/statuses/{id}", delete(statuses::delete::delete))
        .route("/api/v1/statuses/{id}/context", get(statuses::context::context))
        .route("/api/v1/statuses/{id}/source", get(statuses::source::source))
        .route("/api/v1/statuses/{id}/history", get(statuses::history::history))
        .route("/api/v1/statuses/{id}/reblogged_by", get(statuses::actors::reblogged_by))
        .route("/api/v1/statuses/{id}/favourited_by", get(statuses::actors::favourited_by))
        .route("/api/v1/statuses/{id}/favourite", post(statuses::favourite::favourite))
        .route("/api/v1/statuses/{id}/unfavourite", post(statuses::favourite::unfavourite))
        .route("/api/v1/statuses/{id}/reblog", post(statuses::reblog::reblog))
        .route("/api/v1/statuses/{id}/unreblog", post(statuses::reblog::unreblog))
        .route("/api/v1/statuses/{id}/bookmark", post(statuses::bookmark::bookmark))
        .route("/api/v1/statuses/{id}/unbookmark", post(statuses::bookmark::unbookmark))
        .route("/api/v1/timelines/home", get(timelines::home::home))
        .route("/api/v1/timelines/public", get(timelines::public::public))
        .route("/api/v1/timelines/tag/{hashtag}", get(timelines::tag::tag))
        .route("/api/v1/favourites", get(timelines::kept::favourites))
        .route("/api/v1/bookmarks", get(timelines::kept::bookmarks))
        .route("/api/v1/notifications", get(notifications::list::list))
        .route("/api/v1/notifications/unread_count", get(notifications::unread_count::unread_count))
        .route("/api/v1/notifications/clear", post(notifications::clear::clear))
        .route("/api/v1/notifications/{id}", get(notifications::show::show))
        .route("/api/v1/notifications/{id}/dismiss", post(notifications::dismiss::dismiss))
        .route("/api/v2/search", get(search::everything::search))
        .route("/api/v1/tags/{name}", get(search::tags::show))
        .route("/api/v1/markers", get(misc::markers::get))
        .route("/api/v1/markers", post(misc::markers::set))
        .route("/api/v1/preferences", get(misc::preferences::preferences))
        .route("/api/v1/streaming/health", get(misc::streaming::health))
        .route("/avatars/missing.png", get(misc::missing_picture::missing_picture))
        .route("/api/tidegate/v1/statuses/{id}/delivery", get(statuses::delivery::delivery))
        .route("/api/tidegate/v1/admin/hosts", get(admin::hosts_list::list))
        .route("/api/tidegate/v1/admin/hosts/{host}", get(admin::host_show::show))
        .route("/api/tidegate/v1/admin/hosts/{host}/pause", post(admin::host_pause::pause))
        .route("/api/tidegate/v1/admin/hosts/{host}/resume", post(admin::host_resume::resume))
        .route("/api/tidegate/v1/admin/hosts/{host}/probe", post(admin::host_probe::probe))
        .route("/api/tidegate/v1/admin/deliveries", get(admin::deliveries_list::list))
        .route("/api/tidegate/v1/admin/deliveries/replay", post(admin::deliveries_replay::replay))
        .route("/api/tidegate/v1/admin/deliveries/purge", post(admin::deliveries_purge::purge))
}
