//! What a test does to the queues of a private node behind everybody's back; all in its first
//! virtual host.

use crate::{RabbitMq, http};

impl RabbitMq {
    /// Deletes a queue.
    pub async fn delete_queue(&self, queue: &str) {
        self.ask("DELETE", format!("/api/queues/%2f/{queue}"), String::new())
            .await;
    }

    /// Empties a queue.
    pub async fn purge_queue(&self, queue: &str) {
        let path = format!("/api/queues/%2f/{queue}/contents");
        self.ask("DELETE", path, String::new()).await;
    }

    /// Puts bytes into a queue, whatever they say.
    pub async fn put(&self, queue: &str, payload: &str) {
        let body = format!(
            "{{\"properties\":{{\"delivery_mode\":2}},\"routing_key\":\"{queue}\",\
             \"payload\":\"{}\",\"payload_encoding\":\"string\"}}",
            payload.replace('\\', "\\\\").replace('"', "\\\"")
        );
        let path = "/api/exchanges/%2f/amq.default/publish".to_owned();
        let answer = self.ask("POST", path, body).await;
        assert!(answer.contains("true"), "no such queue: {answer}");
    }

    async fn ask(&self, method: &'static str, path: String, body: String) -> String {
        assert!(self.private, "it may be another test's");
        let port = self.node().management;
        tokio::task::spawn_blocking(move || http::request(port, method, &path, &body))
            .await
            .expect("the thread does not panic")
            .expect("the broker does it")
    }
}
