//! QR codes as SVG and PNG.

use crate::http::error::ApiError;
use crate::http::v1::params::Params;
use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_DISPOSITION;
use qrcode::{Color, EcLevel, QrCode};
use std::fmt::Write as _;

/// The largest picture, pixels of a side.
const LARGEST: u32 = 2_048;

/// How a code is to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    png: bool,
    /// Pixels of a side, at least about this.
    size: u32,
    /// Modules of white around the code; scanners want four.
    margin: u32,
    level: EcLevel,
    dark: [u8; 3],
    light: [u8; 3],
    download: bool,
}

impl Default for Options {
    fn default() -> Options {
        let (dark, light) = ([0, 0, 0], [255, 255, 255]);
        Options { png: false, size: 256, margin: 4, level: EcLevel::M, dark, light, download: false }
    }
}

impl Options {
    /// From `format`, `size`, `margin`, `level`, `dark`, `light` and `download`.
    ///
    /// # Errors
    /// 400.
    pub fn read(params: &Params) -> Result<Options, ApiError> {
        let usual = Options::default();
        let limited = |name: &str, value: Option<u32>, usual: u32, least: u32, most: u32| match value {
            None => Ok(usual),
            Some(value) if (least..=most).contains(&value) => Ok(value),
            Some(_) => Err(ApiError::bad_request("invalid_query", format!("{name} must be {least} to {most}"))),
        };
        let level = match params.word("level", &["L", "M", "Q", "H"])? {
            Some("L") => EcLevel::L,
            Some("Q") => EcLevel::Q,
            Some("H") => EcLevel::H,
            _ => usual.level,
        };
        Ok(Options {
            png: params.word("format", &["svg", "png"])? == Some("png"),
            size: limited("size", params.number("size")?, usual.size, 64, LARGEST)?,
            margin: limited("margin", params.number("margin")?, usual.margin, 0, 16)?,
            level,
            dark: color(params, "dark")?.unwrap_or(usual.dark),
            light: color(params, "light")?.unwrap_or(usual.light),
            download: params.get("download").is_some(),
        })
    }

    /// The picture of a text as an answer.
    ///
    /// # Errors
    /// 400 when the text is too long for a code.
    pub fn answer(&self, text: &str) -> Result<HttpResponse, ApiError> {
        let (content, kind, name) = if self.png {
            (self.png(text)?, "image/png", "link.png")
        } else {
            (self.svg(text)?.into_bytes(), "image/svg+xml", "link.svg")
        };
        let mut response = HttpResponse::Ok();
        response.content_type(kind).insert_header(("X-Content-Type-Options", "nosniff"));
        if self.download {
            response.insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")));
        }
        Ok(response.body(content))
    }

    fn modules(&self, text: &str) -> Result<(usize, Vec<bool>), ApiError> {
        let too_long = |_| ApiError::bad_request("qr_too_long", "the address does not fit into a QR code");
        let code = QrCode::with_error_correction_level(text, self.level).map_err(too_long)?;
        let modules = code.to_colors().into_iter().map(|color| color == Color::Dark).collect();
        Ok((code.width(), modules))
    }

    /// One path for all dark modules, so that no hair-lines show between them.
    ///
    /// # Errors
    /// As [`Options::answer`].
    pub fn svg(&self, text: &str) -> Result<String, ApiError> {
        let (width, modules) = self.modules(text)?;
        let margin = self.margin as usize;
        let side = width + 2 * margin;
        let mut path = String::new();
        for (row, line) in modules.chunks(width).enumerate() {
            let mut column = 0;
            while column < width {
                let run = line.iter().skip(column).take_while(|dark| **dark).count();
                if run > 0 {
                    // Writing to a string cannot fail.
                    let _ = write!(path, "M{} {}h{run}v1h-{run}z", column + margin, row + margin);
                }
                column += run + 1;
            }
        }
        let hex = |[r, g, b]: [u8; 3]| format!("#{r:02x}{g:02x}{b:02x}");
        Ok(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" width=\"{size}\" height=\"{size}\" \
             shape-rendering=\"crispEdges\"><path fill=\"{}\" d=\"M0 0h{side}v{side}H0z\"/><path fill=\"{}\" d=\"{path}\"/></svg>",
            hex(self.light),
            hex(self.dark),
            size = self.size,
        ))
    }

    fn png(&self, text: &str) -> Result<Vec<u8>, ApiError> {
        let (width, modules) = self.modules(text)?;
        let margin = self.margin as usize;
        let side = width + 2 * margin;
        // Whole pixels for each module, so that the code stays sharp.
        let scale = (self.size as usize).div_ceil(side).max(1);
        let pixels = side * scale;
        let bytes = pixels.div_ceil(8);
        let mut image = vec![0u8; bytes * pixels];
        for (y, line) in image.chunks_mut(bytes).enumerate() {
            let row = (y / scale).checked_sub(margin).filter(|row| *row < width);
            for x in 0..pixels {
                let column = (x / scale).checked_sub(margin).filter(|column| *column < width);
                let dark = row.zip(column).and_then(|(row, column)| modules.get(row * width + column));
                if dark == Some(&true)
                    && let Some(byte) = line.get_mut(x / 8)
                {
                    *byte |= 0x80 >> (x % 8);
                }
            }
        }
        let failed = |error: png::EncodingError| {
            tracing::error!(%error, "a picture could not be made");
            ApiError::new(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR, "internal", "the picture failed")
        };
        let mut out = Vec::new();
        let side = u32::try_from(pixels).unwrap_or(LARGEST);
        let mut encoder = png::Encoder::new(&mut out, side, side);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::One);
        encoder.set_palette([self.light, self.dark].concat());
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&image).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(out)
    }
}

fn color(params: &Params, name: &str) -> Result<Option<[u8; 3]>, ApiError> {
    let Some(text) = params.get(name) else { return Ok(None) };
    let invalid = || ApiError::bad_request("invalid_query", format!("{name} must be a color such as 1a2b3c"));
    let digits = text.trim_start_matches('#');
    if digits.len() != 6 || !digits.is_ascii() {
        return Err(invalid());
    }
    let number = u32::from_str_radix(digits, 16).map_err(|_| invalid())?;
    let [_, r, g, b] = number.to_be_bytes();
    Ok(Some([r, g, b]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn both_pictures_show_the_same_code() {
        let text = "https://s.example/abc";
        let options = Options { size: 64, ..Options::default() };
        let (width, modules) = options.modules(text).unwrap();
        let png = options.png(text).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&png)).read_info().unwrap();
        let mut image = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut image).unwrap();
        let side = width + 8;
        let scale = info.width as usize / side;
        assert_eq!(info.width as usize, side * scale);
        for row in 0..width {
            for column in 0..width {
                let (x, y) = ((column + 4) * scale, (row + 4) * scale);
                let bit = image[y * info.line_size + x / 8] >> (7 - x % 8) & 1 == 1;
                assert_eq!(bit, modules[row * width + column], "row {row} column {column}");
            }
        }
        // In the SVG the runs add up to the same number of dark modules.
        let svg = options.svg(text).unwrap();
        let runs = svg.split("v1h-").skip(1).map(|rest| rest.split('z').next().unwrap().parse::<usize>().unwrap());
        assert_eq!(runs.sum::<usize>(), modules.iter().filter(|dark| **dark).count());
    }

    #[test]
    fn options_are_checked() {
        let read = |query: &str| Options::read(&Params::parse(query).unwrap());
        assert_eq!(read("").unwrap(), Options::default());
        assert_eq!(read("dark=%23ff0000&format=png&level=H").unwrap().dark, [255, 0, 0]);
        for query in
            ["size=10", "size=5000", "margin=17", "dark=red", "dark=1234567", "level=X", "format=gif", "light=%C3%A412"]
        {
            assert!(read(query).is_err(), "{query}");
        }
    }
}
