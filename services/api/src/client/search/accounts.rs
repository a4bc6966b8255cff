//! Accounts by the beginning of their handle or a part of their name.

use sqlx::PgConnection;
use tidegate_model::Instance;
use tidegate_store::StoreError;

use crate::client::handle::Handle;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AccountQuery<'a> {
    pub(crate) text: &'a str,
    pub(crate) viewer: Option<i64>,
    /// Only whom the viewer follows.
    pub(crate) following: bool,
    pub(crate) limit: i64,
    pub(crate) offset: i64,
}

/// The ids of matching accounts: exact handles first, then followed ones, then the most followed.
pub(crate) async fn find_accounts(
    connection: &mut PgConnection,
    instance: &Instance,
    query: &AccountQuery<'_>,
) -> Result<Vec<i64>, StoreError> {
    let text = query.text.trim();
    let word = text.trim_start_matches('@');
    if word.is_empty() {
        return Ok(Vec::new());
    }
    let handle = Handle::parse(text, instance);
    // A full handle means one account; half of one means all that begin so.
    let whole = word.contains('@');
    let (username, domain) = match handle {
        Some(handle) => (handle.username, handle.domain.unwrap_or_default()),
        None => (String::new(), String::new()),
    };
    Ok(sqlx::query_scalar(
        "select a.id from accounts a
         left join follows f on f.account_id = $1 and f.target_id = a.id and f.state = 'accepted'
         where a.suspended_at is null and a.deleted_at is null
           and a.actor_type <> 'Application'
           and (not $2 or f.id is not null)
           and case when $3
               then lower(a.username) = lower($4) and lower(coalesce(a.domain, '')) = $5
               else lower(a.username) like $6 or lower(a.display_name) like '%' || $6
           end
           and not exists (select 1 from blocks b where (b.account_id = $1 and b.target_id = a.id)
                                                     or (b.account_id = a.id and b.target_id = $1))
         order by lower(a.username) = lower($4) desc, f.id is not null desc,
                  a.domain is null desc, a.followers_count desc, a.id
         limit $7 offset $8",
    )
    .bind(query.viewer)
    .bind(query.following)
    .bind(whole)
    .bind(username)
    .bind(domain)
    .bind(format!("{}%", escaped(&word.to_lowercase())))
    .bind(query.limit)
    .bind(query.offset)
    .fetch_all(connection)
    .await?)
}

/// Text that stands for itself in a LIKE pattern.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_themselves() {
        assert_eq!(escaped("100%_\\"), "100\\%\\_\\\\");
    }
}
