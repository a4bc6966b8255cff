//! Accounts, their follows and their blocks.

use super::Rig;

/// The inbox of a person's own.
pub fn own_inbox(name: &str, host: &str) -> String {
    format!("http://{host}/users/{name}/inbox")
}

/// The inbox that all of a host share.
pub fn shared_inbox(host: &str) -> String {
    format!("http://{host}/inbox")
}

impl Rig {
    /// A remote account, and its number. With `shared`, its host has an inbox for all.
    pub async fn person(&self, name: &str, host: &str, shared: bool) -> i64 {
        sqlx::query_scalar(
            "insert into accounts (username, domain, uri, url, inbox_url, shared_inbox_url, key_id,
                                   public_key_pem)
             values ($1, $2, 'http://' || $2 || '/users/' || $1, '', $3, $4, 'k' || $1 || $2, '')
             returning id",
        )
        .bind(name)
        .bind(host)
        .bind(own_inbox(name, host))
        .bind(shared.then(|| shared_inbox(host)))
        .fetch_one(self.pool())
        .await
        .expect("an account")
    }

    /// A local account beside the rig's author; it has no key, because nothing of it may leave.
    pub async fn keyless(&self, name: &str) -> i64 {
        sqlx::query_scalar(
            "insert into accounts (username, uri, url, inbox_url, key_id, public_key_pem)
             values ($1, 'http://us.test/users/' || $1, '', 'x', 'k' || $1, '') returning id",
        )
        .bind(name)
        .fetch_one(self.pool())
        .await
        .expect("an account")
    }

    /// One follows another; the posts go to this inbox.
    pub async fn follow(&self, who: i64, whom: i64, inbox: &str, state: &str) {
        let (inbox, _) = self.inbox(inbox).await;
        sqlx::query(
            "insert into follows (account_id, target_id, uri, state, inbox_id)
             values ($1, $2, 'f' || $1 || '-' || $2, $3, $4)",
        )
        .bind(who)
        .bind(whom)
        .bind(state)
        .bind(inbox)
        .execute(self.pool())
        .await
        .expect("a follow");
    }

    /// A follow request of the author's, as the Follow with this number would have made it.
    pub async fn asked(&self, follow: i64) {
        sqlx::query(
            "insert into follows (account_id, target_id, uri, state)
             select a.account_id, a.account_id, a.uri, 'pending' from activities a where a.id = $1",
        )
        .bind(follow)
        .execute(self.pool())
        .await
        .expect("a request");
    }

    /// A remote account with an inbox of its own that follows the author, and that inbox.
    pub async fn follower(&self, host: &str) -> (i64, String) {
        let id = self.person("bob", host, false).await;
        let inbox = own_inbox("bob", host);
        self.follow(id, self.author, &inbox, "accepted").await;
        (id, inbox)
    }

    /// One blocks another.
    pub async fn block(&self, who: i64, whom: i64) {
        sqlx::query(
            "insert into blocks (account_id, target_id, uri) values ($1, $2, 'b' || $1 || '-' || $2)",
        )
        .bind(who)
        .bind(whom)
        .execute(self.pool())
        .await
        .expect("a block");
    }

    /// A local post of somebody.
    pub async fn post_of(&self, author: i64, visibility: &str) -> i64 {
        sqlx::query_scalar(
            "insert into statuses (uri, account_id, local, visibility)
             values ('http://us.test/s/' || gen_random_uuid(), $1, true, $2) returning id",
        )
        .bind(author)
        .bind(visibility)
        .fetch_one(self.pool())
        .await
        .expect("a status")
    }
}
