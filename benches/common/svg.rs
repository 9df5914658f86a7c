//! Functions that the plots share.

/// Returns the position of a value on a logarithmic scale, from 0 at `least` to 1 at `most`.
pub fn on_log_scale(value: f64, least: f64, most: f64) -> f64 {
    (value.clamp(least, most) / least).ln() / (most / least).ln()
}

/// Escapes text for SVG.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
