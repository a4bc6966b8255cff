//! Puts the roles of a process together: each gets its dependencies and a way to the others,
//! offers its services to them, and runs as a task.

use std::convert::Infallible;

use anyhow::Context;
use axum::response::IntoResponse;
use http::{Request, Response};
use tidegate_delivery::Delivery;
use tidegate_proto::{Rpc, RpcAuth};
use tidegate_telemetry::Stop;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc::Receiver;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::interceptor::InterceptedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Channel;
use tower::Service;

use super::services::{Shared, api_options, delivery_options, fanout_options};
use super::{discovery, http as web, node, rpc};
use crate::config::Config;
use crate::lifecycle::Tasks;
use crate::roles::Roles;

/// The roles while they are put together.
pub(super) struct Assembly<'a> {
    config: &'a Config,
    roles: Roles,
    shared: &'a Shared,
    auth: RpcAuth,
    role_tasks: &'a mut Tasks,
    base_tasks: &'a mut Tasks,
    routes: RoutesBuilder,
    inside: Channel,
    incoming: Receiver<DuplexStream>,
    to_delivery: Option<Rpc>,
}

impl<'a> Assembly<'a> {
    /// Nothing yet but the way between the roles.
    pub(super) fn new(
        config: &'a Config,
        roles: Roles,
        shared: &'a Shared,
        role_tasks: &'a mut Tasks,
        base_tasks: &'a mut Tasks,
    ) -> anyhow::Result<Self> {
        let (inside, incoming) = rpc::pipe().split();
        Ok(Self {
            config,
            roles,
            shared,
            auth: RpcAuth::new(config.rpc.token.expose())?,
            role_tasks,
            base_tasks,
            routes: RoutesBuilder::default(),
            inside,
            incoming,
            to_delivery: None,
        })
    }

    /// Offers a service to other roles as it is.
    pub(super) fn serve<S>(&mut self, service: S)
    where
        S: Service<Request<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.routes.add_service(service);
    }

    /// Offers a service to those who have the token.
    fn serve_with_token<S>(&mut self, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.serve(InterceptedService::new(
            service,
            self.auth.clone().required(),
        ));
    }

    /// The delivery role, if this process has it.
    pub(super) fn add_delivery(&mut self) -> anyhow::Result<()> {
        if !self.roles.delivery {
            return Ok(());
        }
        let role = Delivery::new(self.shared.delivery(), delivery_options(self.config))?;
        self.serve_with_token(role.egress_server());
        self.serve_with_token(role.deliveries_server());
        self.serve_with_token(role.hosts_server());
        let stop = self.stop();
        self.spawn_consumer("delivery", async move { role.run(stop).await });
        Ok(())
    }

    /// The fanout role, if this process has it.
    pub(super) fn add_fanout(&mut self) -> anyhow::Result<()> {
        if !self.roles.fanout {
            return Ok(());
        }
        let deps = self.shared.fanout(self.way_to_delivery()?);
        let options = fanout_options(self.config);
        self.serve_with_token(tidegate_fanout::timelines_server(deps.clone(), &options));
        let stop = self.stop();
        self.spawn_consumer("fanout", tidegate_fanout::run(deps, options, stop));
        Ok(())
    }

    /// The api role, if this process has it and therefore a port for it.
    pub(super) fn add_api(&mut self, port: Option<TcpListener>) -> anyhow::Result<()> {
        let Some(listener) = port else {
            return Ok(());
        };
        let to_delivery = self.way_to_delivery()?;
        let to_fanout = self.way_to("rpc.fanout", self.roles.fanout, &self.config.rpc.fanout)?;
        let deps = self.shared.api(to_delivery, to_fanout);
        let options = api_options(self.config);
        let router = tidegate_api::router(deps.clone(), options.clone());
        let proxies = self.config.http.trusted_proxies.clone();
        let stop = self.stop();
        self.role_tasks
            .spawn("http", web::serve(listener, router, proxies, stop.clone()));
        self.role_tasks
            .spawn("api", tidegate_api::run_tasks(deps, options, stop));
        Ok(())
    }

    /// The services on offer, and the pipe that calls inside the process come out of.
    pub(super) fn finish(self) -> (Routes, Receiver<DuplexStream>) {
        (self.routes.routes(), self.incoming)
    }

    fn stop(&self) -> Stop {
        self.role_tasks.stop_signal().clone()
    }

    /// A role that consumes starts once the queues are there.
    fn spawn_consumer(
        &mut self,
        name: &'static str,
        role: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let (shared, stop) = (self.shared.clone(), self.stop());
        self.role_tasks.spawn(name, async move {
            node::declare_queues(&shared, &stop).await?;
            if stop.is_stopping() {
                return Ok(());
            }
            role.await
        });
    }

    fn way_to_delivery(&mut self) -> anyhow::Result<Rpc> {
        if let Some(way) = &self.to_delivery {
            return Ok(way.clone());
        }
        let way = self.way_to(
            "rpc.delivery",
            self.roles.delivery,
            &self.config.rpc.delivery,
        )?;
        self.to_delivery = Some(way.clone());
        Ok(way)
    }

    /// To a role: inside the process when it is here, else to all its replicas.
    fn way_to(&mut self, key: &'static str, is_here: bool, urls: &str) -> anyhow::Result<Rpc> {
        if is_here {
            return Ok(rpc::authenticated(self.inside.clone(), &self.auth));
        }
        let stop = self.base_tasks.stop_signal().soft.clone();
        let (channel, task) = discovery::channel(urls, stop).context(key)?;
        self.base_tasks.spawn(key, task);
        Ok(rpc::authenticated(channel, &self.auth))
    }
}
