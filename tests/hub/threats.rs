//! That docs/security.md names only tests that are there.

use std::{fs, path::Path};

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let document = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut count = 0;
    let rows = document.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit(" | ").next());
    for tests in rows.filter(|tests| tests.contains(".rs`")) {
        let mut source = String::new();
        for name in tests.split('`').skip(1).step_by(2) {
            if Path::new(name).extension().is_some_and(|extension| extension == "rs") {
                source = fs::read_to_string(root.join(name)).unwrap_or_else(|_| panic!("{name} isn't there"));
            } else if name.starts_with(char::is_alphabetic) {
                assert!(source.contains(&format!("fn {name}(")), "{name} isn't there");
                count += 1;
            }
        }
    }
    assert!(count >= 30, "{count}");
}
