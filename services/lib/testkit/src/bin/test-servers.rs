//! `test-servers start|stop`: starts the shared test servers ahead of a run, or stops what
//! earlier runs left up.

use anyhow::{Result, bail};
use tidegate_testkit::{Postgres, RabbitMq, Redis};

#[tokio::main]
async fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("start") => {
            tokio::join!(Postgres::shared(), Redis::shared(), RabbitMq::shared());
        }
        Some("stop") => {
            Postgres::stop_shared()?;
            Redis::stop_shared()?;
            RabbitMq::stop_shared()?;
        }
        _ => bail!("usage: test-servers start|stop"),
    }
    Ok(())
}
