/// How a text is spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Any,
    /// A DNS label.
    Name,
    /// Labels separated by dots.
    Cluster,
    /// `HOST:PORT`.
    Address,
    /// `90s`, `5m`, `1h`, `2d` or `0`.
    Span,
    /// The same, but not nothing.
    Lasting,
    /// `http://` or `https://`.
    Url,
    /// `http://`.
    PlainUrl,
    /// An absolute path.
    Path,
    /// Four octal digits.
    Mode,
    /// `USER` or `USER:GROUP`.
    Owner,
}

impl Form {
    pub const ALL: &'static [Self] = &[
        Self::Any,
        Self::Name,
        Self::Cluster,
        Self::Address,
        Self::Span,
        Self::Lasting,
        Self::Url,
        Self::PlainUrl,
        Self::Path,
        Self::Mode,
        Self::Owner,
    ];

    /// A regular expression that everything of this form matches. It is for editors and may let through what the reader,
    /// who knows more than spelling, refuses: port 99999.
    pub fn pattern(self) -> Option<&'static str> {
        Some(match self {
            Self::Any => return None,
            Self::Name => "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
            Self::Cluster => "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$",
            Self::Address => "^(\\[[0-9A-Fa-f:.]+\\]|[0-9A-Za-z._-]+):[0-9]+$",
            Self::Span => "^(0|[0-9]+[smhd])$",
            Self::Lasting => "^0*[1-9][0-9]*[smhd]$",
            Self::Url => "^https?://",
            Self::PlainUrl => "^http://",
            Self::Path => "^/[^/]",
            Self::Mode => "^0[0-7]{3}$",
            Self::Owner => "^[0-9A-Za-z_.$][0-9A-Za-z_.$-]{0,31}(:[0-9A-Za-z_.$][0-9A-Za-z_.$-]{0,31})?$",
        })
    }
}
