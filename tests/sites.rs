//! Sites of an account, as a shell sees them: shown, set, taken back, kept through whatever happens to a
//! store, with a server and without.

mod support;

use std::path::Path;
use std::process::Output;

use support::Server;
use support::furnished::text;
use support::server::verb;

fn done(dir: &Path, arguments: &[&str]) -> String {
    let output = verb(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    text(&output.stdout).to_owned()
}

fn sites(dir: &Path, arguments: &[&str]) -> Output {
    verb(dir, &[&["account", "sites"], arguments].concat())
}

#[test]
fn sites_are_shown_set_and_taken_back() {
    for with_server in [true, false] {
        let below = tempfile::tempdir().unwrap();
        let dir = below.path().join("store");
        done(&dir, &["account", "add", "shop"]);
        let server = with_server.then(|| Server::start(&dir));
        let said = |arguments: &[&str]| {
            let output = sites(&dir, arguments);
            assert_eq!(text(&output.stderr), "");
            text(&output.stdout).to_owned()
        };
        assert_eq!(said(&["shop"]), "name=shop\nsites=off\n");
        assert!(!done(&dir, &["account", "show"]).contains("sites"), "from anywhere goes unsaid");
        let set = "name=shop\nsites=www.example.com *.shop.example ::1\n";
        assert_eq!(said(&["shop", "WWW.example.com.", "*.shop.example", "[::1]"]), set);
        assert_eq!(said(&["shop"]), set);
        let json = r#"{"name":"shop","sites":["www.example.com","*.shop.example","::1"]}"#;
        assert_eq!(said(&["shop", "--json"]).trim_end(), json);
        let shown = "\nsites=www.example.com *.shop.example ::1\n";
        assert!(done(&dir, &["account", "show", "shop"]).ends_with(shown));
        assert!(done(&dir, &["account", "list"]).ends_with(shown));
        for (wrong, why) in [
            (&["shop", "https://example.com"][..], "without `https://`"),
            (&["shop", "example.com/a"], "\"example.com/a\" is no host"),
            (&["shop", "off", "a b"], "\"a b\" is no host"),
            (&["other", "a.example"], "there is no account"),
            (&["other"], "there is no account"),
        ] {
            let output = sites(&dir, wrong);
            assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""), "{wrong:?}");
            assert!(text(&output.stderr).contains(why), "{output:?}");
        }
        assert_eq!(said(&["shop"]), set, "what is refused changes nothing");
        drop(server);

        for arguments in [&["compact"][..], &["rebuild"], &["account", "rotate", "shop"]] {
            done(&dir, arguments);
            assert_eq!(done(&dir, &["account", "sites", "shop"]), set, "{arguments:?}");
        }
        assert!(done(&dir, &["verify"]).contains("damaged=0\n"));
        done(&dir, &["retention", "set", "shop", "30"]);
        let file = below.path().join("backup");
        done(&dir, &["backup", file.to_str().unwrap()]);
        let restored = below.path().join("restored");
        done(&restored, &["restore", file.to_str().unwrap()]);
        assert_eq!(done(&restored, &["account", "sites", "shop"]), set);
        assert_eq!(done(&restored, &["account", "sites", "shop", "off"]), "name=shop\nsites=off\n");
        assert!(done(&restored, &["account", "show"]).ends_with("\nretention_days=30\n"));
        assert_eq!(said(&["shop", "off"]), "name=shop\nsites=off\n");
        assert_eq!(said(&["shop", "--json"]).trim_end(), r#"{"name":"shop","sites":null}"#);
    }
}
