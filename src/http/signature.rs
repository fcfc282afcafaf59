//! Signs requests as Volcengine's services require it: <https://www.volcengine.com/docs/6369/67269>.

use jiff::Timestamp;
use reqwest::Url;

use super::url_component::encode_component;
use crate::secret::crypto::{hex, mac, sha256_hex};

/// The service that a request is signed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// The name of the service.
    pub service: &'static str,
    /// Its region.
    pub region: &'static str,
}

/// The headers of a signed request: names and values.
pub type SignedHeaders = [(&'static str, String); 4];

/// The headers that are signed. Their names are sorted.
const SIGNED: &str = "content-type;host;x-content-sha256;x-date";

const CONTENT_TYPE: &str = "application/json";

impl Signature {
    /// The headers of a request at `now`, which the server compares with its own clock.
    pub fn headers(
        self,
        method: &str,
        url: &Url,
        body: &str,
        (access_key, secret_key): (&str, &str),
        now: Timestamp,
    ) -> SignedHeaders {
        let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = &date[..8];
        let body_hash = sha256_hex(body.as_bytes());
        let host = url.host_str().unwrap_or_default();
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let mut query: Vec<String> = url
            .query_pairs()
            .map(|(name, value)| format!("{}={}", encode_component(&name), encode_component(&value)))
            .collect();
        query.sort();
        let canonical = format!(
            "{method}\n{}\n{}\ncontent-type:{CONTENT_TYPE}\nhost:{host}\nx-content-sha256:{body_hash}\nx-date:{date}\n\n\
             {SIGNED}\n{body_hash}",
            url.path(),
            query.join("&")
        );
        let scope = format!("{day}/{}/{}/request", self.region, self.service);
        let to_sign = format!("HMAC-SHA256\n{date}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
        let parts = [day, self.region, self.service, "request"];
        let key = parts.iter().fold(secret_key.as_bytes().to_vec(), |key, part| mac(&key, part.as_bytes()));
        let signature = hex(&mac(&key, to_sign.as_bytes()));
        let authorization =
            format!("HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={SIGNED}, Signature={signature}");
        [("Authorization", authorization), ("Host", host), ("X-Content-Sha256", body_hash), ("X-Date", date)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected signature was computed with Python's hmac by the rules of docs/upstreams.md 20.
    #[test]
    fn a_request_has_the_documented_signature() {
        let url =
            Url::parse("https://visual.volcengineapi.com/?Action=CVSync2AsyncGetResult&Version=2022-08-31").unwrap();
        let now = Timestamp::from_second(1_795_132_800).unwrap();
        let body = r#"{"req_key":"jimeng_t2v_v30","task_id":"1"}"#;
        let signature = Signature { service: "cv", region: "cn-north-1" };
        let headers = signature.headers("POST", &url, body, ("AKexample", "SKexample"), now);
        assert_eq!(headers[3], ("X-Date", "20261120T000000Z".to_owned()));
        assert_eq!(headers[1].1, "visual.volcengineapi.com");
        assert!(headers[0].1.starts_with(
            "HMAC-SHA256 Credential=AKexample/20261120/cn-north-1/cv/request, SignedHeaders=content-type;host;x-content-sha256;x-date"
        ));
        assert!(
            headers[0].1.ends_with("Signature=15c4359e22ec7daa94a8f7d742a9ca12b399ea04d691001f28f2976b1f5d9a62"),
            "{}",
            headers[0].1
        );
    }
}
