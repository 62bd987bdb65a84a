DROP TABLE profile_pictures;
