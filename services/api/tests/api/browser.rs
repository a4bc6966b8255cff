//! A browser as far as the pages need one: cookies, and the hidden fields of forms.

use std::collections::BTreeMap;

use axum::{
    body::Body,
    http::{Request, header},
};

use crate::common::{Answer, Server};

pub struct Browser<'a> {
    server: &'a Server,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    pub fn new(server: &'a Server) -> Self {
        Self {
            server,
            cookies: BTreeMap::new(),
        }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        let request = Request::get(path).header(header::ACCEPT, "text/html");
        self.send(request, String::new()).await
    }

    pub async fn post(&mut self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        let request =
            Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, body).await
    }

    async fn send(&mut self, request: axum::http::request::Builder, body: String) -> Answer {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = request
            .header(header::COOKIE, cookies.join("; "))
            .body(Body::from(body))
            .expect("a request");
        let answer = self.server.send(request).await;
        for cookie in answer.headers.get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().expect("text");
            for promise in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/"] {
                assert!(cookie.contains(promise), "{cookie}");
            }
            assert!(cookie.starts_with("__Host-"), "{cookie}");
            let pair = cookie.split(';').next().expect("a pair");
            let (name, value) = pair.split_once('=').expect("a pair");
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    pub async fn sign_in(&mut self, email: &str, password: &str) -> Answer {
        let page = self.get("/auth/sign_in").await;
        let csrf = field(&page, "csrf");
        self.post(
            "/auth/sign_in",
            &[("email", email), ("password", password), ("csrf", &csrf)],
        )
        .await
    }
}

/// The value of a hidden field.
pub fn field(page: &Answer, name: &str) -> String {
    let text = page.text();
    let at = text
        .find(&format!("name=\"{name}\" value=\""))
        .unwrap_or_else(|| panic!("no field {name} in {text}"));
    let rest = &text[at + name.len() + 15..];
    rest[..rest.find('"').expect("a quote")]
        .replace("&#x2f;", "/")
        .replace("&amp;", "&")
}
