//! The api role through its real router, on a real database.

#![expect(unreachable_pub, reason = "helpers of one test binary")]

mod browser;
mod common;
mod federation;
mod inbox;
mod matrix;
mod oauth;
mod pages;
mod sign_up;
