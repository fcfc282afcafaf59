pub mod clock;
pub mod config;
pub mod domain;
pub mod http;
pub mod provider;
pub mod secret;
pub mod supervise;
pub mod telemetry;
