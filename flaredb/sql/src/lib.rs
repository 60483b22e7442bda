//! DataFusion over flaredb tables.
