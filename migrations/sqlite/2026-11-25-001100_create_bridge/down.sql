DROP TABLE bridge_watermark;
