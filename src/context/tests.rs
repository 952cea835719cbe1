use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 77));

/// For tests that ask often: making one takes long without optimisation.
static CONTEXTS: LazyLock<Contexts> = LazyLock::new(Contexts::default);

fn now() -> Date {
    Date::parse("2001-07-04").expect("a date")
}

/// The context of a call that asks for an image.
fn context(headers: &Headers<'_>) -> Option<serde_json::Value> {
    let text = CONTEXTS.of(headers, true, AccountId(1), CLIENT, now())?;
    Some(serde_json::from_str(&text).expect("JSON"))
}

/// Browser, system, device and `bot`, with `-` for what isn't there.
fn told(contexts: &Contexts, headers: &Headers<'_>) -> String {
    let text = contexts.of(headers, true, AccountId(1), CLIENT, now()).unwrap_or("{}".into());
    let context: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mut told = ["browser", "os", "device"].map(|key| context[key].as_str().unwrap_or("-"));
    let bot = if context["bot"] == true { " bot" } else { "" };
    for part in &mut told {
        *part = part.trim();
    }
    told.join(", ") + bot
}

#[test]
fn real_user_agents() {
    let contexts = Contexts::default();
    for line in AGENTS.trim().lines() {
        let (expected, agent) = line.split_once(" | ").expect("two parts");
        let headers = Headers { user_agent: Some(agent), ..Headers::default() };
        assert_eq!(told(&contexts, &headers), expected.trim_end(), "{agent}");
    }
    assert!(AGENTS.trim().lines().count() >= 40);
}

const AGENTS: &str = "
Chrome, Windows, desktop | Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36
Edge, Windows, desktop | Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.2903.86
Edge, Windows, desktop | Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36 Edge/12.246
Edge, Android, phone | Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36 EdgA/131.0.0.0
Safari, macOS, desktop | Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15
Safari, iOS, phone | Mozilla/5.0 (iPhone; CPU iPhone OS 18_1_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1.1 Mobile/15E148 Safari/604.1
Safari, iPadOS, tablet | Mozilla/5.0 (iPad; CPU OS 17_7_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.7.2 Mobile/15E148 Safari/604.1
Chrome, iOS, phone | Mozilla/5.0 (iPhone; CPU iPhone OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/131.0.6778.73 Mobile/15E148 Safari/604.1
Firefox, iOS, phone | Mozilla/5.0 (iPhone; CPU iPhone OS 14_7_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/133.0 Mobile/15E148 Safari/605.1.15
Facebook, iOS, phone | Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/489.0.0.41.76]
Firefox, Windows, desktop | Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0
Firefox, Linux, desktop | Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0
Firefox, Android, phone | Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0
Firefox, Android, tablet | Mozilla/5.0 (Android 14; Tablet; rv:133.0) Gecko/133.0 Firefox/133.0
Samsung Internet, Android, phone | Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36
Chrome, Android, phone | Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36
Chrome, Android, tablet | Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36
Opera, Windows, desktop | Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 OPR/115.0.0.0
Opera, Android, phone | Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36 OPR/86.0.0.0
Opera Mini, Android, phone | Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16
Yandex Browser, Windows, desktop | Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 YaBrowser/24.12.0.0 Safari/537.36
Vivaldi, macOS, desktop | Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/91.0.4472.114 Safari/537.36 Vivaldi/4.0
Chrome, Chrome OS, desktop | Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36
Internet Explorer, Windows, desktop | Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko
Internet Explorer, Windows, desktop | Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)
Safari, Tizen, tv | Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) 76.0.3809.146/6.0 TV Safari/537.36
WebView, Android, phone | Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/UD1A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/131.0.0.0 Mobile Safari/537.36
WebView, iPadOS, tablet | Mozilla/5.0 (iPad; CPU OS 17_7_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148
Chrome, Android, phone | Mozilla/5.0 (Linux; Android 8.1.0; CUBOT_X18_Plus) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36
Amazon Silk, Android, tablet | Mozilla/5.0 (Linux; Android 11; KFTRWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/131.3.1 like Chrome/131.0.6778.104 Safari/537.36
Firefox, Linux, desktop | Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0
Firefox, FreeBSD, desktop | Mozilla/5.0 (X11; FreeBSD amd64; rv:133.0) Gecko/20100101 Firefox/133.0
Firefox, KaiOS, phone | Mozilla/5.0 (Mobile; Nokia 8110 4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5
Safari, -, console | Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 Safari/605.1.15
-, -, - bot | Mozilla/5.0 (compatible; Embedly/0.2; snap; +http://support.embed.ly/)
Googlebot, -, - bot | Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)
Googlebot, -, - bot | Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.6778.69 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)
bingbot, -, - bot | Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36
GPTBot, -, - bot | Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)
ClaudeBot, -, - bot | Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)
-, -, - bot | Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ChatGPT-User/1.0; +https://openai.com/bot)
PerplexityBot, -, - bot | Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)
Bytespider, -, - bot | Mozilla/5.0 (compatible; Bytespider; spider-feedback@bytedance.com) AppleWebKit/537.36
YandexBot, -, - bot | Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)
Applebot, -, - bot | Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)
Chrome, Linux, desktop bot | Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Safari/537.36
FacebookBot, -, - bot | facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)
Twitterbot, -, - bot | Twitterbot/1.0
Slackbot-LinkExpanding, -, - bot | Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)
Gmail, -, - | Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)
Yahoo Mail, -, - | YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html
Python-urllib, -, - bot | Python-urllib/3.11
-, -, - | curl/8.5.0
-, Linux, - | Wget/1.14 (linux-gnu)
-, -, - | Wget/1.21.4
-, -, - | python-requests/2.32.3
-, -, - | Go-http-client/1.1
-, -, - | okhttp/4.12.0
-, -, - | node
-, -, - | Mozilla/5.0
";

#[test]
fn hints_win_where_they_say_more() {
    let contexts = Contexts::default();
    let linux = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
    let android = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
    let opera = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 OPR/115.0.0.0";
    let long = format!("\"{}\";v=\"1\"", "x".repeat(NAME_BYTES_MAX + 1));
    let chrome = r#""Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24""#;
    for (agent, brands, platform, mobile, expected) in [
        (linux, chrome, "\"Linux\"", "?0", "Chrome, Linux, desktop"),
        (
            linux,
            r#""Brave";v="131", "Chromium";v="131", "Not_A Brand";v="24""#,
            "\"macOS\"",
            "?0",
            "Brave, macOS, desktop",
        ),
        (
            linux,
            r#""Not(A:Brand";v="8", "Chromium";v="131", "Microsoft Edge";v="131""#,
            "\"Windows\"",
            "?0",
            "Edge, Windows, desktop",
        ),
        (linux, r#"" Not A;Brand";v="99", "Chromium";v="98""#, "", "", "Chrome, Linux, desktop"),
        (
            linux,
            r#""Chromium";v="131", "HeadlessChrome";v="131""#,
            "",
            "",
            "Chrome, Linux, desktop bot",
        ),
        (linux, r#""a,b;c";v="1""#, "\"Chromium OS\"", "?0", "a,b;c, Chrome OS, desktop"),
        (opera, chrome, "\"Unknown\"", "?0", "Opera, Linux, desktop"),
        (opera, r#""Opera GX";v="115", "Chromium";v="130""#, "", "", "Opera GX, Linux, desktop"),
        (android, chrome, "\"Android\"", "?1", "Chrome, Android, phone"),
        (android, chrome, "\"Android\"", "?0", "Chrome, Android, tablet"),
        // What is no hint says nothing.
        (linux, "", "", "", "Chrome, Linux, desktop"),
        (linux, "Brave", "macOS", "1", "Chrome, Linux, desktop"),
        (linux, "\"\";v=\"1\"", "\"\"", "?", "Chrome, Linux, desktop"),
        (linux, "\"Brave", "\"macOS", "", "Chrome, Linux, desktop"),
        (linux, "\"a\\\"b\";v=\"1\"", "\"a\\b\"", "", "Chrome, Linux, desktop"),
        (linux, long.as_str(), long.as_str(), "", "Chrome, Linux, desktop"),
        (linux, "\"\u{fffd}\u{1}\"", "\"\u{fffd}\"", "", "Chrome, Linux, desktop"),
        // Nor do hints make a browser of a bot that says that it is one.
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1)",
            chrome,
            "\"Linux\"",
            "?0",
            "Googlebot, -, - bot",
        ),
    ] {
        let headers = Headers {
            user_agent: Some(agent),
            sec_ch_ua: Some(brands),
            sec_ch_ua_platform: Some(platform),
            sec_ch_ua_mobile: Some(mobile),
            ..Headers::default()
        };
        assert_eq!(told(&contexts, &headers), expected, "{brands} {platform} {mobile}");
    }
}

#[test]
fn the_members_come_in_one_order_and_what_is_not_known_is_left_out() {
    let headers = Headers::read(|name| match name {
        "referer" => Some("https://me:secret@shop.example/tea?\"#top"),
        "user-agent" => Some(
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Mobile Safari/537.36",
        ),
        "sec-purpose" => Some("prefetch;prerender"),
        _ => None,
    });
    let contexts = Contexts::default();
    let text = contexts.of(&headers, false, AccountId(1), CLIENT, now()).expect("a context");
    let visitor = text.split("\"visitor\":\"").nth(1).expect("a visitor")[..32].to_owned();
    assert_eq!(
        text,
        format!(
            r#"{{"page":"https://shop.example/tea?\"","browser":"Chrome","os":"Android","device":"phone","visitor":"{visitor}","bot":true,"prefetch":true}}"#
        )
    );
    let private = Headers { user_agent: Some("curl/8.5.0"), dnt: Some("1"), ..Headers::default() };
    assert_eq!(context(&private), None, "nothing is known");
}

#[test]
fn only_a_browser_has_a_context() {
    let contexts = Contexts::default();
    let agent = Some("Mozilla/5.0 (compatible; Googlebot/2.1)");
    let alone = Headers { user_agent: agent, dnt: Some("0"), ..Headers::default() };
    for (headers, image, browser) in [
        (alone, false, false),
        (alone, true, true),
        (Headers { origin: Some("null"), ..alone }, false, true),
        (Headers { referer: Some(""), ..alone }, false, true),
    ] {
        let made = contexts.of(&headers, image, AccountId(1), CLIENT, now());
        assert_eq!(made.is_some(), browser, "{headers:?} {image}");
    }
}

#[test]
fn who_does_not_want_to_be_followed_is_not() {
    let visitor = |headers: &Headers<'_>| context(headers)?.get("visitor").cloned();
    let plain = Headers { user_agent: Some("x"), ..Headers::default() };
    assert!(visitor(&plain).is_some());
    for (headers, followed) in [
        (Headers { sec_gpc: Some("1"), ..plain }, false),
        (Headers { dnt: Some("1"), ..plain }, false),
        (Headers { dnt: Some(" 1 "), sec_gpc: Some("0"), ..plain }, false),
        (Headers { dnt: Some("0"), sec_gpc: Some("?1"), ..plain }, true),
        (Headers { user_agent: Some("via ggpht.com GoogleImageProxy"), ..plain }, false),
        (Headers { user_agent: None, ..plain }, true),
    ] {
        assert_eq!(visitor(&headers).is_some(), followed, "{headers:?}");
    }
}

#[test]
fn calls_ahead_of_time_are_marked() {
    let plain = Headers::default();
    for (headers, prefetch) in [
        (Headers { sec_purpose: Some("prefetch"), ..plain }, true),
        (Headers { sec_purpose: Some("prefetch;anonymous-client-ip"), ..plain }, true),
        (Headers { purpose: Some("Prefetch"), ..plain }, true),
        (Headers { x_moz: Some("prefetch"), ..plain }, true),
        (Headers { x_purpose: Some("preview"), ..plain }, true),
        (Headers { sec_purpose: Some("prefetching"), ..plain }, false),
        (Headers { purpose: Some(""), x_moz: Some("x"), ..plain }, false),
        (plain, false),
    ] {
        let marked = context(&headers).is_some_and(|context| context["prefetch"] == true);
        assert_eq!(marked, prefetch, "{headers:?}");
    }
}

/// The worst that was found for the rules, and what is simply large.
fn hostile() -> Vec<String> {
    let parts = [
        "a",
        ";",
        "Mozilla/5.0 (",
        "Windows ",
        "iPhone; like Mac OS X",
        "Opera/",
        "Chrome/1.",
        "bot",
        "\u{fffd}",
        "Android ",
        "-iPad/1 CFNetwork",
        "MSIE 9.0;",
        "rv:1",
        "http://",
        "\0",
        "Trident/7.0;",
        "Safari/",
        "Mobile/ CFNetwork",
        "; Android 1.1; x Build",
        "\u{1f375}",
        "\"",
        "\\\"",
    ];
    parts.iter().map(|part| part.repeat(64 * 1024 / part.len())).collect()
}

#[test]
fn nothing_makes_it_large() {
    let contexts = Contexts::default();
    for text in hostile() {
        let all = Headers::read(|_| Some(&text));
        let quoted = format!("\"{}\"", &cut_to(&text, NAME_BYTES_MAX));
        let hints = Headers { sec_ch_ua: Some(&quoted), sec_ch_ua_platform: Some(&quoted), ..all };
        let page = cut_to(&text, PAGE_BYTES_MAX);
        let fits = Headers { referer: Some(&page), ..hints };
        for headers in [all, hints, fits] {
            let made = contexts.of(&headers, true, AccountId(1), CLIENT, now());
            assert!(made.is_none_or(|text| text.len() <= CONTEXT_BYTES_MAX));
        }
    }
}

fn cut_to(text: &str, bytes: usize) -> String {
    text.chars()
        .scan(0, |sum, c| {
            *sum += c.len_utf8();
            (*sum <= bytes).then_some(c)
        })
        .collect()
}

proptest! {
    #[test]
    fn no_header_panics_or_lets_an_address_through(
        agent in "(Mozilla/5\\.0 \\()?((Windows|Android|iPhone|iPad|MSIE|Phone|OS|NT|Chrome|Safari|Opera|Version|Trident|IEMobile|BlackBerry|BB10|KDDI|Vodafone|PSP|rv:|like Mac OS X|bot|192\\.0\\.2\\.77)[ /;()_.0-9-]{0,4}){0,20}",
        any in "\\PC{0,80}",
    ) {
        for text in [&agent, &any] {
            let headers = Headers { referer: None, ..Headers::read(|_| Some(text)) };
            let made = CONTEXTS.of(&headers, true, AccountId(1), CLIENT, now()).unwrap_or_default();
            let allowed = any.contains("192.0.2.77");
            prop_assert!(allowed || !made.contains("192.0.2.77"), "{}", made);
        }
    }
}

#[test]
fn what_bots_and_browsers_by_themselves_do_is_nobodys() {
    for (context, nobodys) in [
        (r#"{"page":"https://a.example/","bot":true}"#, true),
        (r#"{"prefetch":true}"#, true),
        (r#"{"page":"https://a.example/?\"bot\":true"}"#, false),
        (r#"{"browser":"Firefox"}"#, false),
        (r#"{"bot":"yes"}"#, false),
        (r#"{"bot":false,"visitor":1}"#, false),
        ("[]", false),
        ("", false),
    ] {
        assert_eq!(is_nobodys(context), nobodys, "{context}");
    }
}
