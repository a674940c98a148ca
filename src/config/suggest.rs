//! What somebody may have meant who wrote something unknown.

/// `did you mean ...?` when one of the known words is near, else the list of them.
pub(super) fn suggest(word: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|known| (strsim::jaro_winkler(&word.to_lowercase(), &known.to_lowercase()), known))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest {
        Some((likeness, nearest)) if likeness > 0.8 => format!("did you mean `{nearest}`?"),
        Some(_) => format!("expected `{}`", known.join("`, `")),
        None => "no key is known here".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_nearest_or_all() {
        assert_eq!(suggest("nmae", &["bind", "name"]), "did you mean `name`?");
        assert_eq!(suggest("TLS", &["Insecure", "Tls"]), "did you mean `Tls`?");
        assert_eq!(suggest("zzz", &["bind", "name"]), "expected `bind`, `name`");
        assert_eq!(suggest("zzz", &[]), "no key is known here");
    }
}
