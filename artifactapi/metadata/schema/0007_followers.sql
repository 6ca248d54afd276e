-- What a replica must know to begin an answer while another one fetches the blob; NULL while nobody knows.
ALTER TABLE fills ADD COLUMN size bigint;
