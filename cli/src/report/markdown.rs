//! Markdown as GitHub displays it: tables, and names that cannot break the layout.

use super::escape::escaped;

/// Cells of a table row.
pub(super) type Cells = Vec<String>;

/// Returns a name as inline code that cannot end its cell or its line.
pub(super) fn code(name: &str) -> String {
    format!("`{}`", escaped(name).replace('`', "'").replace('|', "\\|"))
}

/// Returns a sentence with all markup characters escaped, so that no name in it is read as markup.
pub(super) fn plain(sentence: &str) -> String {
    let mut text = String::new();
    for character in escaped(sentence).chars() {
        if "*_<>[]`|#@\\".contains(character) {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// Returns a table. The last column is aligned left, the other columns, with numbers, are aligned right.
pub(super) fn rows(titles: &[&str], rows: &[Cells]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let titles: Vec<String> = titles.iter().map(|title| (*title).to_owned()).collect();
    let last = titles.len().saturating_sub(1);
    let ruler: Vec<String> =
        (0..titles.len()).map(|at| if at == last { "---" } else { "---:" }.to_owned()).collect();
    let body: String = rows.iter().map(|cells| line(cells)).collect();
    format!("{}{}{body}", line(&titles), line(&ruler))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_markup() {
        assert_eq!(code("Vec<T>::push|`x`\n"), "`Vec<T>::push\\|'x'\\u{a}`");
        assert_eq!(plain("<img> of a_b @all"), "\\<img\\> of a\\_b \\@all");
        assert_eq!(
            rows(&["a", "b"], &[vec!["1".into(), "x".into()]]),
            "| a | b |\n| ---: | --- |\n| 1 | x |\n"
        );
    }
}
