//! The fanout role as a whole: real PostgreSQL, the embedded queue with its relay, in-process
//! timelines, and a scripted delivery role behind real gRPC.

mod amplification;
mod authority;
mod fan_out;
mod home;
mod inbound;
mod mail;
mod plan;
mod profile;
mod rebuild;
mod repeats;
mod smtp;
mod support;
mod unverified;
