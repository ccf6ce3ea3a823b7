use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
};

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use super::*;

fn canonical(text: &str) -> Result<String, CanonicalError> {
    canonical_json(text.as_bytes()).map(|bytes| String::from_utf8(bytes).expect("the canonical form is ASCII"))
}

#[test]
fn hard_cases_come_out_as_python_writes_them() {
    let cases = [
        // Order, spacing, duplicates
        (r#" { "b" : 1 , "a" : [ 1 , 2 ] } "#, r#"{"a":[1,2],"b":1}"#),
        ("\t\r\n{}\n", "{}"),
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
        (r#"{"a":1,"\u0061":2}"#, r#"{"a":2}"#),
        (r#"{"B":1,"a":2,"":3,"_":4}"#, r#"{"":3,"B":1,"_":4,"a":2}"#),
        // By code point, not by UTF-16 unit and not by what is written: U+E000 < U+FFFF < U+1F600, U+00E9 > "z"
        (r#"{"😀":1,"\uffff":2,"\ue000":3}"#, r#"{"\ue000":3,"\uffff":2,"\ud83d\ude00":1}"#),
        (r#"{"é":1,"z":2}"#, r#"{"z":2,"\u00e9":1}"#),
        (r#"{"\ud800":1,"퟿":2,"\ue000":3}"#, r#"{"\ud7ff":2,"\ud800":1,"\ue000":3}"#),
        // Strings
        (r#""é€😀""#, r#""\u00e9\u20ac\ud83d\ude00""#),
        ("\"\u{7f}\u{80}\"", r#""\u007f\u0080""#),
        (r#""\"\\\/\b\f\n\r\t""#, r#""\"\\/\b\f\n\r\t""#),
        (r#""\u0000\u001F\u002f\u00E9""#, r#""\u0000\u001f/\u00e9""#),
        (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
        (r#""\ud800""#, r#""\ud800""#),
        (r#""\ud800\ud800\udc00""#, r#""\ud800\ud800\udc00""#),
        (r#""\udc00\ud800x\ud800\n""#, r#""\udc00\ud800x\ud800\n""#),
        // Integers
        ("[0,-0,-1,1234567890123456789012345678901234567890]", "[0,0,-1,1234567890123456789012345678901234567890]"),
        // Floats
        ("[-0.0,0.0,1.0,1.50,100e-2]", "[-0.0,0.0,1.0,1.5,1.0]"),
        ("[1e15,1e16,123456789012345680.0]", "[1000000000000000.0,1e+16,1.2345678901234568e+17]"),
        ("[0.0001,0.00001,1.5e-7,1E+2]", "[0.0001,1e-05,1.5e-07,100.0]"),
        ("[5e-324,2e-324,1.7976931348623157e308]", "[5e-324,0.0,1.7976931348623157e+308]"),
        ("[0.1,0.30000000000000004,9007199254740993.0]", "[0.1,0.30000000000000004,9007199254740992.0]"),
        // Exactly between two shortest spellings; and 2^-44, of which the nearest one of 16 digits is another number.
        ("[868925126714171.25,4503599627370497.5]", "[868925126714171.2,4503599627370498.0]"),
        ("[5.684341886080801486968994140625e-14]", "[5.684341886080802e-14]"),
        ("[1e400,-1e400,1e99999999999999999999]", "[Infinity,-Infinity,Infinity]"),
        // Literals, Python's own among them
        ("[null,true,false,NaN,Infinity,-Infinity]", "[null,true,false,NaN,Infinity,-Infinity]"),
    ];
    for (text, expected) in cases {
        assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_python_refuses_is_refused() {
    let texts = [
        "",
        " ",
        "{",
        "[",
        "]",
        "[1",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "{'a':1}",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "--1",
        "-01",
        "0x1",
        "1_0",
        "-NaN",
        "-Inf",
        "nan",
        "Null",
        "nul",
        "nullx",
        "\"",
        "\"a",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\ud800\\u12\"",
        "\"\\u+123\"",
        "\"a\nb\"",
        "\"\u{0}\"",
        "\"\u{1f}\"",
        "1 2",
        "{}x",
        "\u{feff}{}",
        "\u{a0}1",
        "\u{c}1",
        "/**/1",
    ];
    for text in texts {
        assert!(matches!(canonical(text), Err(CanonicalError::Syntax { .. })), "{text:?}");
    }
    assert_eq!(canonical_json(b"\"\xff\""), Err(CanonicalError::NotUtf8));
    assert_eq!(canonical_json(b"\"\xed\xa0\x80\""), Err(CanonicalError::NotUtf8));
}

#[test]
fn an_integer_may_have_4300_digits() {
    let longest = "9".repeat(INTEGER_DIGITS_MAX);
    for text in [longest.clone(), format!("-{longest}")] {
        assert_eq!(canonical(&text), Ok(text));
    }
    for text in [format!("{longest}9"), format!("-{longest}9")] {
        assert_eq!(canonical(&text), Err(CanonicalError::IntegerTooLong));
    }
    assert_eq!(canonical(&format!("{longest}9.0")).as_deref(), Ok("Infinity"));
}

#[test]
fn nesting_is_bounded() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        assert_eq!(canonical(&nested(DEPTH_MAX)), Ok(nested(DEPTH_MAX)));
        assert_eq!(canonical(&nested(DEPTH_MAX + 1)), Err(CanonicalError::TooDeep));
        assert_eq!(canonical(&open.repeat(100_000)), Err(CanonicalError::TooDeep));
    }
    let siblings = format!("[{}[]]", "[],".repeat(10 * DEPTH_MAX));
    assert_eq!(canonical(&siblings), Ok(siblings));
}

/// Texts of scalars: numbers and strings in every spelling, and what is nearly one.
fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "null",
            "true",
            "false",
            "NaN",
            "Infinity",
            "-Infinity",
            "-0",
            "-0.0",
            "1e400",
            "-1E+400",
            "1.",
            "01",
            "-"
        ])
        .prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        "-?(0|[1-9][0-9]{0,40})",
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        any::<u64>().prop_map(|bits| format!("{:e}", f64::from_bits(bits)).replace("inf", "1e999")),
        any::<f64>().prop_map(|number| format!("{number}")),
        // Powers of two, whose neighbours are unevenly far, and decimals on the edge of rounding.
        (-1074..1024).prop_map(|exponent| format!("{:.30e}", 2f64.powi(exponent))),
        (0u64..1 << 54).prop_map(|number| format!("{number}.5e-{}", number % 40)),
        (0u32..40, 1u32..10).prop_map(|(exponent, digit)| format!("{digit}e{}", exponent.cast_signed() - 20)),
        string(),
    ]
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ -!#-\\[\\]-~]{1,8}",
        2 => any::<char>().prop_filter("not to be raw", |c| !matches!(c, '"' | '\\' | '\0'..='\x1f')).prop_map(String::from),
        2 => select(vec![r"\n", r"\t", r"\r", r"\b", r"\f", r"\/", r"\\", "\\\"", "\u{7f}", "\u{2028}"]).prop_map(str::to_owned),
        2 => any::<u16>().prop_map(|unit| format!("\\u{unit:04x}")),
        2 => (0xd7f0u16..0xe010).prop_map(|unit| format!("\\u{unit:04X}")),
        1 => (0xd800u16..0xdc00, 0xdc00u16..0xe000).prop_map(|(high, low)| format!("\\u{high:04x}\\u{low:04x}")),
    ];
    vec(piece, 0..6).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// JSON texts with spaces in all places, and few keys, so that they repeat, also in several spellings.
fn document() -> impl Strategy<Value = String> {
    let space = || select(vec!["", "", "", " ", "\n\t", "\r"]);
    let key = prop_oneof![
        3 => select(vec![r#""a""#, r#""\u0061""#, r#""b""#, r#""é""#, r#""\u00e9""#, r#""\uD83D\uDE00""#, r#""😀""#])
            .prop_map(str::to_owned),
        2 => string(),
    ];
    scalar().prop_recursive(5, 48, 6, move |inner| {
        let member = (key.clone(), space(), space(), inner.clone(), space())
            .prop_map(|(key, before, after, value, end)| format!("{key}{before}:{after}{value}{end}"));
        prop_oneof![
            (vec(inner, 0..6), space())
                .prop_map(|(items, space)| format!("[{space}{}]", items.join(&format!("{space},")))),
            (vec(member, 0..6), space())
                .prop_map(|(members, space)| format!("{{{space}{}}}{space}", members.join(&format!(",{space}")))),
        ]
    })
}

/// A document with a few bytes replaced, removed, or doubled.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![select(b"{}[]\",:\\ue-+.0159 \n\x00\xff\xed\xc3".to_vec()), any::<u8>()];
    let edit = (any::<prop::sample::Index>(), byte, 0..3u8);
    (document(), vec(edit, 1..4)).prop_map(|(text, edits)| {
        let mut bytes = text.into_bytes();
        for (index, byte, kind) in edits {
            let at = index.index(bytes.len() + 1);
            match kind {
                0 if at < bytes.len() => bytes[at] = byte,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

/// What Python answers to each text, `None` for an error; `None` instead of all if there is no Python.
fn ask_python(texts: &[Vec<u8>]) -> Option<Vec<Option<Vec<u8>>>> {
    const SCRIPT: &str = r#"
import json, sys
for line in sys.stdin.buffer.read().split(b"\n")[:-1]:
    try:
        value = json.loads(bytes.fromhex(line.decode()).decode("utf-8"))
        print("+" + json.dumps(value, sort_keys=True, separators=(",", ":")))
    except ValueError:
        print("-")
"#;
    let command = Command::new("python3").args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut python) = command else { return None };
    // It answers only after it has read everything, so writing it all first can't block.
    let mut lines = String::new();
    for text in texts {
        for byte in text {
            write!(lines, "{byte:02x}").expect("a String takes it");
        }
        lines.push('\n');
    }
    python.stdin.take().expect("stdin is piped").write_all(lines.as_bytes()).expect("python3 reads its input");
    let output = python.wait_with_output().expect("python3 ends");
    assert!(output.status.success(), "python3 failed");
    let answers = String::from_utf8(output.stdout).expect("python3 writes ASCII");
    Some(answers.lines().map(|line| line.strip_prefix('+').map(|text| text.as_bytes().to_vec())).collect())
}

#[test]
fn python_itself_agrees() {
    let mut runner = TestRunner::deterministic();
    let texts = prop_oneof![document().prop_map(String::into_bytes), mutated()];
    let texts = vec(texts, 4000).new_tree(&mut runner).expect("documents").current();
    let Some(answers) = ask_python(&texts) else {
        eprintln!("skipped: python3 not found");
        return;
    };
    assert_eq!(answers.len(), texts.len());
    for (text, answer) in texts.iter().zip(&answers) {
        let ours = canonical_json(text).ok();
        assert_eq!(ours.as_ref(), answer.as_ref(), "{}", String::from_utf8_lossy(text));
    }
    // The texts must not all be refused, nor all be taken.
    let taken = answers.iter().flatten().count();
    assert!(taken > texts.len() / 4 && taken < texts.len() * 9 / 10, "{taken} of {} texts were JSON", texts.len());
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_canonical_form_is_its_own(text in document()) {
        if let Ok(once) = canonical(&text) {
            prop_assert_eq!(canonical(&once), Ok(once));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop_oneof![vec(any::<u8>(), 0..64), mutated()]) {
        let _ = canonical_json(&bytes);
    }
}
