//! A virtual host per test, so that tests on the shared broker cannot meet.

use crate::rabbitmq::Place;
use crate::{RabbitMq, home, http};

/// A place for one test's queues; deleted with it.
#[derive(Debug)]
pub struct TestVhost {
    /// `amqp://...` of the virtual host.
    pub url: String,
    /// A prefix for queue names that no other test has.
    pub prefix: String,
    /// Management port and name, when the node is ours.
    made: Option<(u16, String)>,
}

impl RabbitMq {
    /// A virtual host with every right for `guest`.
    pub async fn vhost(&self) -> TestVhost {
        let name = format!("test_{}", home::unique());
        let node = match &self.place {
            Place::Node(node) => node.clone(),
            Place::Url(url) => {
                return TestVhost {
                    url: url.clone(),
                    prefix: name,
                    made: None,
                };
            }
        };
        let vhost = name.clone();
        tokio::task::spawn_blocking(move || -> anyhow::Result<TestVhost> {
            let port = node.management;
            http::request(port, "PUT", &format!("/api/vhosts/{vhost}"), "{}")?;
            http::request(
                port,
                "PUT",
                &format!("/api/permissions/{vhost}/guest"),
                r#"{"configure":".*","write":".*","read":".*"}"#,
            )?;
            Ok(TestVhost {
                url: format!("amqp://guest:guest@127.0.0.1:{}/{vhost}", node.amqp),
                prefix: vhost.clone(),
                made: Some((port, vhost)),
            })
        })
        .await
        .expect("the thread does not panic")
        .expect("a virtual host is made")
    }
}

impl TestVhost {
    /// Takes `guest`'s right to read, write and configure here away. Only on a node of ours.
    pub fn forbid_guest(&self) {
        let (port, name) = self.made.as_ref().expect("the node is ours");
        http::request(
            *port,
            "PUT",
            &format!("/api/permissions/{name}/guest"),
            r#"{"configure":"^$","write":"^$","read":"^$"}"#,
        )
        .expect("rights are changed");
    }

    /// Deletes a queue behind everybody's back.
    pub fn delete_queue(&self, queue: &str) {
        let (port, name) = self.made.as_ref().expect("the node is ours");
        let path = format!("/api/queues/{name}/{queue}");
        http::request(*port, "DELETE", &path, "").expect("the queue is deleted");
    }
}

impl Drop for TestVhost {
    fn drop(&mut self) {
        if let Some((port, name)) = &self.made {
            // A killed private node takes its virtual hosts with it.
            let _gone = http::request(*port, "DELETE", &format!("/api/vhosts/{name}"), "");
        }
    }
}
