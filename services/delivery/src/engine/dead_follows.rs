//! A Follow that died is withdrawn, and whoever asked is told: a request that nobody will ever
//! answer must not look as if somebody might (design section 6).

use sqlx::PgConnection;
use tidegate_model::{Mail, Message, Queues};
use tidegate_store::{OutboxHandle, StoreError};

/// What it takes to tell somebody.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) outbox: OutboxHandle,
    pub(crate) queues: Queues,
}

#[derive(sqlx::FromRow)]
struct Withdrawn {
    follow_id: i64,
    email: Option<String>,
    username: String,
    domain: Option<String>,
}

/// Withdraws the follow requests among these activities, within the transaction in which they
/// died. True: somebody is to be told, and the outbox is to be woken after the commit.
pub(crate) async fn withdraw(
    connection: &mut PgConnection,
    post: &Post,
    activities: &[i64],
) -> Result<bool, StoreError> {
    let withdrawn: Vec<Withdrawn> = sqlx::query_as(
        "with died as (
             select a.uri from activities a where a.id = any($1) and a.kind = 'Follow'
         ), withdrawn as (
             delete from follows f using died
             where f.uri = died.uri and f.state = 'pending'
             returning f.id, f.account_id, f.target_id
         )
         select w.id as follow_id, u.email, t.username, t.domain
         from withdrawn w
         join accounts t on t.id = w.target_id
         left join users u on u.account_id = w.account_id and u.confirmed_at is not null",
    )
    .bind(activities)
    .fetch_all(&mut *connection)
    .await?;
    let mut told = false;
    for follow in withdrawn {
        let Some(email) = follow.email else { continue };
        let handle = match follow.domain {
            Some(domain) => format!("@{}@{domain}", follow.username),
            None => format!("@{}", follow.username),
        };
        let mail = Message::Mail(Mail {
            dedupe_key: format!("follow-died:{}", follow.follow_id),
            to: email,
            subject: format!("Your follow request to {handle} could not be delivered"),
            text: format!(
                "Your follow request could not be delivered to the server of {handle}, so it was \
                 withdrawn. Nothing else changed: you can ask again at any time.\n"
            ),
        });
        post.outbox
            .add(&mut *connection, &post.queues.mail(), &mail)
            .await?;
        told = true;
    }
    Ok(told)
}
