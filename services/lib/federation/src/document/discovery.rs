//! How others find us: WebFinger, host-meta, NodeInfo.

use serde_json::{Value, json};
use tidegate_model::{INSTANCE_ACTOR_USERNAME, Instance};

/// The rel of a NodeInfo 2.0 link; Mastodon serves this version alone.
const NODEINFO_REL: &str = "http://nodeinfo.diaspora.software/ns/schema/2.0";

/// The WebFinger answer for a local actor (`application/jrd+json`).
pub fn webfinger(us: &Instance, username: &str) -> Value {
    let (actor, profile) = (us.actor(username), us.profile(username));
    json!({
        "subject": format!("acct:{username}@{}", us.domain),
        "aliases": [profile, actor],
        "links": [
            {
                "rel": "http://webfinger.net/rel/profile-page",
                "type": "text/html",
                "href": profile,
            },
            {"rel": "self", "type": "application/activity+json", "href": actor},
        ],
    })
}

/// The WebFinger answer for the instance actor.
pub fn instance_webfinger(us: &Instance) -> Value {
    let actor = us.instance_actor();
    json!({
        "subject": format!("acct:{INSTANCE_ACTOR_USERNAME}@{}", us.domain),
        "aliases": [actor],
        "links": [{"rel": "self", "type": "application/activity+json", "href": actor}],
    })
}

fn webfinger_template(us: &Instance) -> String {
    format!("{}/.well-known/webfinger?resource={{uri}}", us.base())
}

/// host-meta as XRD (`application/xrd+xml`).
pub fn host_meta_xrd(us: &Instance) -> String {
    // Base URLs are ASCII from the URL parser; only & and quotes could break out.
    let template = webfinger_template(us)
        .replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;");
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <XRD xmlns=\"http://docs.oasis-open.org/ns/xri/xrd-1.0\">\n  \
         <Link rel=\"lrdd\" template=\"{template}\"/>\n\
         </XRD>\n"
    )
}

/// host-meta as JSON.
pub fn host_meta_json(us: &Instance) -> Value {
    json!({"links": [{"rel": "lrdd", "template": webfinger_template(us)}]})
}

/// The index at `/.well-known/nodeinfo`.
pub fn nodeinfo_index(us: &Instance) -> Value {
    json!({"links": [{"rel": NODEINFO_REL, "href": format!("{}/nodeinfo/2.0", us.base())}]})
}

/// What NodeInfo tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// The software's version.
    pub version: String,
    /// Confirmed accounts.
    pub users: u64,
    /// Of them seen in the last 30 days.
    pub active_month: u64,
    /// Of them seen in the last 180 days.
    pub active_half_year: u64,
    /// Posts by local accounts.
    pub local_posts: u64,
    /// Whether anybody may sign up.
    pub open_registrations: bool,
    /// The instance's title.
    pub name: String,
    /// The instance's short description.
    pub description: String,
}

/// The NodeInfo 2.0 document.
pub fn nodeinfo(info: &NodeInfo) -> Value {
    json!({
        "version": "2.0",
        "software": {"name": "tidegate", "version": info.version},
        "protocols": ["activitypub"],
        "services": {"outbound": [], "inbound": []},
        "usage": {
            "users": {
                "total": info.users,
                "activeMonth": info.active_month,
                "activeHalfyear": info.active_half_year,
            },
            "localPosts": info.local_posts,
        },
        "openRegistrations": info.open_registrations,
        "metadata": {"nodeName": info.name, "nodeDescription": info.description},
    })
}

#[cfg(test)]
mod tests {
    use super::{super::testing::us, *};

    #[test]
    fn the_subject_is_the_handle_and_self_is_the_actor() {
        let jrd = webfinger(&us(), "ada");
        assert_eq!(jrd["subject"], "acct:ada@us.test");
        assert_eq!(jrd["links"][1]["rel"], "self");
        assert_eq!(jrd["links"][1]["href"], "https://web.us.test/users/ada");
        let ours = instance_webfinger(&us());
        assert_eq!(ours["subject"], "acct:instance.actor@us.test");
    }

    #[test]
    fn host_meta_points_at_webfinger_in_both_forms() {
        let template = "https://web.us.test/.well-known/webfinger?resource={uri}";
        assert!(host_meta_xrd(&us()).contains(template));
        assert_eq!(host_meta_json(&us())["links"][0]["template"], template);
    }

    #[test]
    fn nodeinfo_is_version_2_0() {
        let info = NodeInfo {
            version: "0.1.0".to_owned(),
            users: 3,
            active_month: 2,
            active_half_year: 3,
            local_posts: 9,
            open_registrations: true,
            name: "Us".to_owned(),
            description: String::new(),
        };
        let document = nodeinfo(&info);
        assert_eq!(document["version"], "2.0");
        assert_eq!(document["usage"]["users"]["activeHalfyear"], 3);
        assert_eq!(document["openRegistrations"], true);
        assert_eq!(
            nodeinfo_index(&us())["links"][0]["href"],
            "https://web.us.test/nodeinfo/2.0"
        );
    }
}
