-- A row of the outbox with a store_state: all that was staged for the key goes, and what was committed under it, except:
ALTER TABLE doomed_objects ADD COLUMN keep text COLLATE "C";
