use proptest::prelude::*;

use super::*;
use EndpointError::{
    Address, BadPort, Characters, Credentials, Fragment, Host as NotAHost, Name, NotAUrl, Port, Scheme, TooLong,
};

/// A URL and what a deployment of the strictest reach says of it: the URL as it is kept, or why not.
type Row = (&'static str, Result<&'static str, EndpointError>);

/// What is fine.
const FINE: &[Row] = &[
    ("https://example.com", Ok("https://example.com/")),
    ("https://example.com/hook?token=a%20b", Ok("https://example.com/hook?token=a%20b")),
    ("HTTPS://EXAMPLE.COM:443/A", Ok("https://example.com/A")),
    ("https://example.com:8443/", Ok("https://example.com:8443/")),
    ("https://example.com:65535/", Ok("https://example.com:65535/")),
    ("https://example.com./", Ok("https://example.com./")),
    ("https://my_hook.example.com/a/../b", Ok("https://my_hook.example.com/b")),
    ("https://bücher.example/ä", Ok("https://xn--bcher-kva.example/%C3%A4")),
    ("https://xn--bcher-kva.example/", Ok("https://xn--bcher-kva.example/")),
    ("https://localhost.example.com/", Ok("https://localhost.example.com/")),
    ("https://example.com/x@y?u=http://127.0.0.1/", Ok("https://example.com/x@y?u=http://127.0.0.1/")),
    ("https://8.8.8.8/", Ok("https://8.8.8.8/")),
    ("https://134744072/", Ok("https://8.8.8.8/")),
    ("https://[2606:4700::1111]:8443/", Ok("https://[2606:4700::1111]:8443/")),
];

/// No URLs.
const NO_URLS: &[Row] = &[
    ("", Err(NotAUrl)),
    ("example.com", Err(NotAUrl)),
    ("//example.com/", Err(NotAUrl)),
    ("/hook", Err(NotAUrl)),
    ("https:example.com", Err(NotAUrl)),
    ("https:/example.com", Err(NotAUrl)),
    ("https:///example.com", Err(NotAUrl)),
    ("https:////example.com", Err(NotAUrl)),
    ("https://", Err(NotAHost)),
    ("https://?q", Err(NotAHost)),
    ("https://:443/", Err(NotAHost)),
    ("::::", Err(NotAUrl)),
];

/// Schemes.
const SCHEMES: &[Row] = &[
    ("http://example.com/", Err(Scheme)),
    ("ftp://example.com/", Err(Scheme)),
    ("ws://example.com/", Err(Scheme)),
    ("file:///etc/passwd", Err(Scheme)),
    ("gopher://example.com:6379/_FLUSHALL", Err(Scheme)),
    ("javascript:alert(1)", Err(Scheme)),
    ("data:text/plain,hi", Err(Scheme)),
    ("unix:/var/run/docker.sock", Err(Scheme)),
];

/// Credentials, fragments, ports.
const PARTS: &[Row] = &[
    ("https://user:secret@example.com/", Err(Credentials)),
    ("https://user@example.com/", Err(Credentials)),
    ("https://@example.com/", Err(Credentials)),
    ("https://:@example.com/", Err(Credentials)),
    ("https://example.com@127.0.0.1/", Err(Credentials)),
    ("https://example.com#@127.0.0.1/", Err(Fragment)),
    ("https://example.com/#", Err(Fragment)),
    ("https://example.com/#part", Err(Fragment)),
    ("https://example.com:0/", Err(Port)),
    ("https://example.com:65536/", Err(Port)),
    ("https://example.com:-1/", Err(Port)),
    ("https://example.com:http/", Err(Port)),
    ("https://example.com:22/", Err(BadPort(22))),
    ("https://example.com:25/", Err(BadPort(25))),
    ("https://example.com:6667/", Err(BadPort(6667))),
    ("https://example.com:10080/", Err(BadPort(10080))),
];

/// Characters that parsers drop or turn.
const CHARACTERS: &[Row] = &[
    ("https://example.com/\n", Err(Characters)),
    ("https://exam\nple.com/", Err(Characters)),
    ("https://exam\tple.com/", Err(Characters)),
    ("https://example.com/\r\nX-Injected: 1", Err(Characters)),
    (" https://example.com/", Err(Characters)),
    ("https://example.com/a b", Err(Characters)),
    ("https://example.com/\u{a0}", Err(Characters)),
    ("https://example.com/\0", Err(Characters)),
    ("https://example.com\\@127.0.0.1/", Err(Characters)),
    ("https:\\\\example.com/", Err(Characters)),
];

/// Hosts that are none.
const NO_HOSTS: &[Row] = &[
    ("https://exa%mple.com/", Err(NotAHost)),
    ("https://example%0a.com/", Err(NotAHost)),
    ("https://example%00.com/", Err(NotAHost)),
    ("https://example%2f.com/", Err(NotAHost)),
    ("https://user＠example.com/", Err(NotAHost)),
    ("https://xn--zzzzzzzzz99999.example/", Err(NotAHost)),
    ("https://xn--a.example/", Err(NotAHost)),
    ("https://exam!ple.com/", Err(NotAHost)),
    ("https://*.example.com/", Err(NotAHost)),
    ("https://example..com/", Err(NotAHost)),
    ("https://.example.com/", Err(NotAHost)),
    ("https://example.com../", Err(NotAHost)),
    ("https://1.2.3.4.5/", Err(NotAHost)),
    ("https://256.1.1.1/", Err(NotAHost)),
    ("https://0x100000000/", Err(NotAHost)),
    ("https://[::1/", Err(NotAHost)),
    ("https://[::1]x/", Err(NotAHost)),
    ("https://[fe80::1%25eth0]/", Err(NotAHost)),
    ("https://[fe80::1%eth0]/", Err(NotAHost)),
];

/// Loopback, private networks and the cloud's metadata, in every notation.
const ADDRESSES: &[Row] = &[
    ("https://127.0.0.1/", Err(Address)),
    ("https://127.0.0.1./", Err(Address)),
    ("https://127.1/", Err(Address)),
    ("https://2130706433/", Err(Address)),
    ("https://0x7f000001/", Err(Address)),
    ("https://0x7f.0.0.1/", Err(Address)),
    ("https://0177.0.0.1/", Err(Address)),
    ("https://017700000001/", Err(Address)),
    ("https://%31%32%37.0.0.1/", Err(Address)),
    ("https://１２７.０.０.１/", Err(Address)),
    ("https://127。0。0。1/", Err(Address)),
    ("https://①②⑦.0.0.1/", Err(Address)),
    ("https://0/", Err(Address)),
    ("https://0.0.0.0/", Err(Address)),
    ("https://169.254.169.254/latest/meta-data/", Err(Address)),
    ("https://0xa9fea9fe/", Err(Address)),
    ("https://169.254.43518/", Err(Address)),
    ("https://10.0.0.1/", Err(Address)),
    ("https://172.16.0.1:8443/", Err(Address)),
    ("https://192.168.257/", Err(Address)),
    ("https://100.64.0.1/", Err(Address)),
    ("https://224.0.0.1/", Err(Address)),
    ("https://255.255.255.255/", Err(Address)),
    ("https://[::]/", Err(Address)),
    ("https://[::1]/", Err(Address)),
    ("https://[0:0:0:0:0:0:0:1]/", Err(Address)),
    ("https://[::ffff:127.0.0.1]/", Err(Address)),
    ("https://[::ffff:7f00:1]/", Err(Address)),
    ("https://[::ffff:8.8.8.8]/", Err(Address)),
    ("https://[::127.0.0.1]/", Err(Address)),
    ("https://[64:ff9b::7f00:1]/", Err(Address)),
    ("https://[2002:7f00:1::]/", Err(Address)),
    ("https://[2001:0:7f00:1::]/", Err(Address)),
    ("https://[fd00:ec2::254]/", Err(Address)),
    ("https://[fe80::1]/", Err(Address)),
    ("https://[fec0::1]/", Err(Address)),
    ("https://[ff02::1]/", Err(Address)),
];

/// Names that aren't in the public DNS.
const NAMES_REFUSED: &[Row] = &[
    ("https://localhost/", Err(Name)),
    ("https://LOCALHOST./", Err(Name)),
    ("https://localhost。/", Err(Name)),
    ("https://ｌｏｃａｌｈｏｓｔ/", Err(Name)),
    ("https://%6c%6fcalhost/", Err(Name)),
    ("https://a.localhost/", Err(Name)),
    ("https://printer.local/", Err(Name)),
    ("https://metadata.google.internal/", Err(Name)),
    ("https://ip-10-0-0-1.ec2.internal./", Err(Name)),
    ("https://router.home.arpa/", Err(Name)),
    ("https://abc.onion/", Err(Name)),
    ("https://abc.invalid/", Err(Name)),
    ("https://abc.alt/", Err(Name)),
    ("https://crm/", Err(Name)),
    ("https://notlocal/x@y", Err(Name)),
    ("https://com./", Err(Name)),
];

#[test]
fn hostile_urls_are_refused_and_odd_ones_read_as_the_client_reads_them() {
    let table = [FINE, NO_URLS, SCHEMES, PARTS, CHARACTERS, NO_HOSTS, ADDRESSES, NAMES_REFUSED].concat();
    assert!(table.len() > 120);
    for (url, expected) in table {
        let got = Endpoint::parse(url, Reach::Public);
        assert_eq!(got.as_ref().map(Endpoint::as_str), expected.as_ref().copied(), "{url:?}");
        assert!(!got.is_err_and(|e| e.to_string().contains("secret")));
    }
}

#[test]
fn lengths_end_where_they_say() {
    let url = |path: usize| format!("https://example.com/{}", "a".repeat(path));
    let parse = |url: &str| Endpoint::parse(url, Reach::Any).map(drop);
    assert_eq!(parse(&url(2_028)), Ok(()));
    assert_eq!(parse(&url(2_029)), Err(TooLong));
    assert_eq!(parse(&url(5_000)), Err(TooLong));
    assert_eq!(parse(&format!("https://example.com/{}", "ä".repeat(400))), Err(TooLong), "six bytes each once encoded");
    assert_eq!(parse(&format!("https://{}.example.com/", "a".repeat(63))), Ok(()));
    assert_eq!(parse(&format!("https://{}.example.com/", "a".repeat(64))), Err(NotAHost));
    assert_eq!(parse(&format!("https://{}example.com/", "a.".repeat(122))), Err(NotAHost));
}

/// Which reach is the first that allows a URL.
#[test]
fn a_wider_reach_allows_more() {
    for (url, first) in [
        ("https://example.com/", Some(Reach::Public)),
        ("http://example.com/", Some(Reach::Loopback)),
        ("http://127.0.0.1:9000/hook", Some(Reach::Loopback)),
        ("http://127.1/", Some(Reach::Loopback)),
        ("http://[::1]:9000/", Some(Reach::Loopback)),
        ("https://localhost/", Some(Reach::Loopback)),
        ("http://hooks.localhost.:9000/", Some(Reach::Loopback)),
        ("http://192.168.1.10/", Some(Reach::Any)),
        ("http://[fd00::1]/", Some(Reach::Any)),
        ("http://nas.local/", Some(Reach::Any)),
        ("http://crm:8080/", Some(Reach::Any)),
        ("http://[::ffff:127.0.0.1]/", None),
        ("http://0.0.0.0/", None),
        ("http://224.0.0.1/", None),
        ("http://abc.onion/", None),
        ("ftp://example.com/", None),
        ("http://user@localhost/", None),
        ("http://localhost:25/", None),
    ] {
        let reaches = [Reach::Public, Reach::Loopback, Reach::Any];
        let allowing: Vec<_> = reaches.into_iter().filter(|reach| Endpoint::parse(url, *reach).is_ok()).collect();
        assert_eq!(allowing.first().copied(), first, "{url}");
        assert_eq!(allowing.len(), first.map_or(0, |first| reaches.iter().filter(|r| **r >= first).count()), "{url}");
    }
    assert_eq!(
        ["public", "loopback", "any"].map(|t| t.parse::<Reach>().unwrap()),
        [Reach::Public, Reach::Loopback, Reach::Any]
    );
    assert!("Public".parse::<Reach>().is_err());
    assert_eq!(Reach::default(), Reach::Public);
}

#[test]
fn what_is_stored_is_read_again_and_judged_by_the_reach_of_now() {
    let stored: Endpoint = serde_json::from_str("\"http://127.0.0.1:9000/hook\"").unwrap();
    assert_eq!(serde_json::to_string(&stored).unwrap(), "\"http://127.0.0.1:9000/hook\"");
    assert_eq!(stored.check(Reach::Loopback), Ok(()));
    assert_eq!(stored.check(Reach::Public), Err(Scheme));
    assert!(serde_json::from_str::<Endpoint>("\"http://user@host/\"").is_err());
}

#[test]
fn a_log_shows_where_to_but_not_what() {
    let endpoint = Endpoint::parse("https://hooks.example.com/services/secret?key=secret", Reach::Public).unwrap();
    assert_eq!(format!("{endpoint:?}"), "Endpoint(https://hooks.example.com:443/…)");
    assert_eq!(endpoint.host(), "hooks.example.com");
}

/// Texts of the pieces that URLs are made of, in any order.
fn url_like() -> impl Strategy<Value = String> {
    const PIECES: &str = "https http :// : / // @ # ? [ ] . % %2e 0x7f 127 0177 1 :: ffff: localhost example com xn-- \
        。 １ ß \u{200d} - _ a .a 8.8.8.8 10.0.0.1 [::1] :8443";
    let pieces: Vec<_> = PIECES.split_whitespace().collect();
    let rest = prop::collection::vec(prop::sample::select(pieces), 0..12);
    (prop::sample::select(vec!["https://", "http://", ""]), rest)
        .prop_map(|(start, rest)| start.to_owned() + &rest.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_accepted_is_allowed_and_reads_the_same_again(text in prop_oneof![any::<String>(), url_like()]) {
        for reach in [Reach::Public, Reach::Loopback, Reach::Any] {
            let Ok(endpoint) = Endpoint::parse(&text, reach) else { continue };
            let ip = endpoint.host().trim_matches(['[', ']']).trim_end_matches('.').parse();
            prop_assert!(ip.map_or(true, |ip| allowed(ip, reach)), "{:?}", endpoint);
            prop_assert!(endpoint.as_str().is_ascii());
            prop_assert_eq!(Endpoint::parse(endpoint.as_str(), reach), Ok(endpoint.clone()));
            let uri: http::Uri = endpoint.as_str().parse().unwrap();
            prop_assert_eq!(uri.host(), Some(endpoint.host()), "the client reads another host");
        }
    }
}
