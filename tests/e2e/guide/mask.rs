//! What a command prints, with what differs from run to run replaced: `<uuid>`, `<date>`, `<clock>`, `<time>`,
//! `<age>`, `<number>` (serial numbers and digests), `<version>` (ours), `<pod>` (what Kubernetes appends to the name of a pod's
//! owner) and, as a line of its own, `<pem>`.

/// What Kubernetes makes names of: no vowels, so that it makes no words.
const NAME: &str = "bcdfghjklmnpqrstvwxz2456789";

/// The text, masked. Columns are two spaces apart, for their width depends on what is masked.
pub(super) fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut is_in_pem = false;
    for line in text.lines() {
        let line = line.trim_end();
        if line.starts_with("-----BEGIN ") {
            is_in_pem = true;
            masked.push_str("<pem>\n");
        }
        if let Some((before, _)) = line.split_once("resourceVersion: ") {
            masked.extend([before, "resourceVersion: <number>\n"]);
        } else if !is_in_pem {
            let words = line.split_inclusive([' ', '/', '"', '=', ';', ',']).map(|word| {
                let end = word.trim_end_matches([' ', '/', '"', '=', ';', ',']).len();
                word_masked(&word[..end]) + &word[end..]
            });
            masked.extend(words);
            masked.push('\n');
        }
        is_in_pem &= !line.starts_with("-----END ");
    }
    with_gaps_alike(&masked)
}

/// Without empty lines at the end, and with two spaces wherever there are more between words, unless the line
/// is one of SPIRE's, `key   : value`, whose colons are in one column.
pub(super) fn with_gaps_alike(text: &str) -> String {
    let mut alike = String::new();
    for line in text.trim_end().lines() {
        let words = line.trim_start();
        alike.push_str(&line[..line.len() - words.len()]);
        let (mut spaces, most) = (0, if line.contains(" : ") { usize::MAX } else { 2 });
        for c in words.chars() {
            spaces = if c == ' ' { spaces + 1 } else { 0 };
            if spaces <= most {
                alike.push(c);
            }
        }
        alike.push('\n');
    }
    alike
}

fn word_masked(word: &str) -> String {
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let is_hex = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit());
    match shape.as_str() {
        "0000-00-00" => return "<date>".to_owned(),
        "00:00:00" => return "<clock>".to_owned(),
        "0000-00-00T00:00:00Z" => return "<time>".to_owned(),
        _ if word == env!("CARGO_PKG_VERSION") => return "<version>".to_owned(),
        _ if is_age(&shape) => return "<age>".to_owned(),
        _ if word.len() >= 24 && is_hex(word) => return "<number>".to_owned(),
        _ => {}
    }
    let uuid = word.len().checked_sub(36).and_then(|at| word.split_at_checked(at));
    if let Some((before, last)) = uuid
        && is_hex(&last.replace('-', ""))
        && last.matches('-').count() == 4
    {
        return format!("{before}<uuid>");
    }
    pod_masked(word)
}

/// As `17s` or `2m3s`.
fn is_age(shape: &str) -> bool {
    let units = shape.trim_start_matches('0');
    units != shape
        && !units.is_empty()
        && units.chars().all(|c| "0smhd".contains(c))
        && !units.ends_with('0')
}

/// A name that ends as those of pods do, which a deployment puts the number of a replica set before.
fn pod_masked(word: &str) -> String {
    let of_pod = |part: &str| part.chars().all(|c| NAME.contains(c));
    let Some((owner, last)) = word.rsplit_once('-') else { return word.to_owned() };
    if last.len() != 5 || !of_pod(last) {
        return word.to_owned();
    }
    match owner.rsplit_once('-') {
        Some((deployment, set)) if (8..=10).contains(&set.len()) && of_pod(set) => {
            format!("{deployment}-<pod>")
        }
        _ => format!("{owner}-<pod>"),
    }
}

#[test]
fn what_differs_from_run_to_run_is_masked_and_nothing_else() {
    for (text, expected) in [
        (
            "istiod-989f54d9c-sg7sn   1/1     Running   0          23s",
            "istiod-<pod>  1/1  Running  0  <age>\n",
        ),
        ("spire-agent-pd6xb 2m3s", "spire-agent-<pod> <age>\n"),
        ("k8s:pod-uid:88b71387-4641-4d9c-9a89-989c88f7509d\r\n\n", "k8s:pod-uid:<uuid>\n"),
        ("x/bea19580-ae04-4679-a22e-472e18ca4687", "x/<uuid>\n"),
        ("2026-11-22 16:57:52 +0000 UTC 2026-11-22T16:57:52Z", "<date> <clock> +0000 UTC <time>\n"),
        ("-----BEGIN X-----\nAA\n-----END X-----\nb", "<pem>\nb\n"),
        ("  Hash=00112233445566778899aabbccddeeff;A", "  Hash=<number>;A\n"),
        ("spire-server-0 demo-cluster", "spire-server-0 demo-cluster\n"),
        ("Revision     : 0", "Revision     : 0\n"),
        ("  resourceVersion: \"653\"", "  resourceVersion: <number>\n"),
        ("istio-ingressgateway-reg example.org 10", "istio-ingressgateway-reg example.org 10\n"),
    ] {
        assert_eq!(masked(text), expected);
    }
}
