//! The client API through the real router, with a database per test, the table queue, timelines
//! in process, and a delivery role that serves what the test put there.

mod accounts;
mod admin;
mod delivery;
mod forged;
mod home;
mod hostile;
mod lists;
mod operators;
mod posting;
mod search;
mod shapes;
mod table;
mod visibility;
mod world;
