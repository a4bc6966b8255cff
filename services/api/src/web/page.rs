//! Rendering: templates are compiled in, escaped by default, and sent with a strict policy.

use std::sync::LazyLock;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use minijinja::{Environment, Value, context};
use tidegate_store::StoreError;

use super::Browser;
use crate::{error::ApiError, state::App};

macro_rules! templates {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("templates/", $name)))),*]
    };
}

const TEMPLATES: &[(&str, &str)] = templates! {
    "layout.html" "landing.html" "sign_in.html" "sign_up.html" "message.html" "resend.html"
    "authorize.html" "code.html" "profile.html" "post.html" "error.html" "about.html" "privacy.html"
};

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    for (name, source) in TEMPLATES {
        environment
            .add_template(name, source)
            .expect("the templates are compiled in and parsed by a test");
    }
    environment
});

/// Where the forms of a page may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FormAction {
    /// Only here.
    OwnSite,
    /// Also elsewhere: the consent page's form ends in a redirect to the app, and browsers
    /// check redirects against `form-action` too.
    Anywhere,
}

impl FormAction {
    const fn policy(self) -> &'static str {
        match self {
            Self::OwnSite => {
                "default-src 'none'; style-src 'self'; img-src 'self' https: data:; \
                 form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
            }
            Self::Anywhere => {
                "default-src 'none'; style-src 'self'; img-src 'self' https: data:; \
                 base-uri 'none'; frame-ancestors 'none'"
            }
        }
    }
}

/// A page as an answer. `values` are the template's own; the rest is added here.
pub(crate) fn render(
    app: &App,
    browser: &Browser,
    forms: FormAction,
    template: &str,
    values: Value,
) -> Response {
    render_with(app, browser, forms, StatusCode::OK, template, values)
}

/// The same with another status.
pub(crate) fn render_with(
    app: &App,
    browser: &Browser,
    forms: FormAction,
    status: StatusCode,
    template: &str,
    values: Value,
) -> Response {
    let values = context! {
        instance => app.options.title,
        csrf => browser.csrf(),
        signed_in_as => browser.session().map(|session| session.username.clone()),
        ..values
    };
    let mut response = page(status, forms, template, values);
    browser.keep_csrf(app, &mut response);
    response
}

fn page(status: StatusCode, forms: FormAction, template: &str, values: Value) -> Response {
    let rendered = ENVIRONMENT
        .get_template(template)
        .and_then(|template| template.render(values));
    let html = match rendered {
        Ok(html) => html,
        Err(error) => return ApiError::internal(&error).into_response(),
    };
    let headers = [
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(forms.policy()),
        ),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-store"),
        ),
    ];
    (status, headers, Html(html)).into_response()
}

/// An error as a page.
#[derive(Debug, Clone)]
pub(crate) struct PageError {
    status: StatusCode,
    text: String,
}

/// What page handlers return.
pub(crate) type PageResult = Result<Response, PageError>;

impl PageError {
    /// A page of `status` that says `text`.
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }

    /// 404.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is nothing at this address.")
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let values = context! {
            status => self.status.as_u16(),
            text => self.text,
        };
        let mut response = page(self.status, FormAction::OwnSite, "error.html", values);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        }
        response
    }
}

impl From<ApiError> for PageError {
    fn from(error: ApiError) -> Self {
        if error.status() == StatusCode::NOT_FOUND {
            return Self::not_found();
        }
        Self::new(error.status(), error.text())
    }
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<sqlx::Error> for PageError {
    fn from(error: sqlx::Error) -> Self {
        ApiError::from(error).into()
    }
}

/// 303: the answer to a form, and the way to another page.
pub(crate) fn see_other(location: &str) -> Response {
    redirect(StatusCode::SEE_OTHER, location)
}

/// 302.
pub(crate) fn found(location: &str) -> Response {
    redirect(StatusCode::FOUND, location)
}

fn redirect(status: StatusCode, location: &str) -> Response {
    match HeaderValue::from_str(location) {
        Ok(location) => (status, [(header::LOCATION, location)]).into_response(),
        Err(_) => {
            PageError::new(StatusCode::BAD_REQUEST, "The address cannot be used.").into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_parses_and_escapes() {
        for (name, _) in TEMPLATES {
            ENVIRONMENT.get_template(name).expect("parses");
        }
        let html = ENVIRONMENT
            .get_template("error.html")
            .and_then(|template| template.render(context! { status => 400, text => "<b>" }))
            .expect("renders");
        assert!(html.contains("&lt;b&gt;") && !html.contains("<b>"));
    }
}
