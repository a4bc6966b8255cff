//! The api role through its real router, on a real database.

#![expect(unreachable_pub, reason = "helpers of one test binary")]

mod browser;
mod common;
mod federation;
mod inbox;
mod inbox_elsewhere;
mod inbox_hostile;
mod inbox_time;
mod oauth;
mod pages;
mod peer;
mod sign_up;
