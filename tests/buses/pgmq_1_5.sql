-- What an application sees of the extension PGMQ 1.5.1, as far as we use it, written anew after
-- its behaviour: queues are part of the extension, are made and dropped without a lock, and have
-- no column last_read_at; dropping what isn't there fails. Topics are unknown.

CREATE TABLE meta (
    queue_name varchar UNIQUE NOT NULL,
    is_partitioned boolean NOT NULL,
    is_unlogged boolean NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL
);

CREATE FUNCTION create_unlogged(queue_name text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    queue text := 'q_' || queue_name;
    archive text := 'a_' || queue_name;
    mine boolean := EXISTS (
        SELECT FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
        JOIN pg_extension e ON e.oid = d.refobjid
        WHERE e.extname = 'pgmq' AND c.relname = queue);
BEGIN
    IF length(queue_name) >= 48 THEN
        RAISE EXCEPTION 'queue name is too long';
    END IF;
    EXECUTE format('CREATE UNLOGGED TABLE IF NOT EXISTS pgmq.%I (
        msg_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        read_ct int DEFAULT 0 NOT NULL,
        enqueued_at timestamptz DEFAULT now() NOT NULL,
        vt timestamptz NOT NULL,
        message jsonb,
        headers jsonb)', queue);
    EXECUTE format('CREATE TABLE IF NOT EXISTS pgmq.%I (msg_id bigint PRIMARY KEY)', archive);
    IF NOT mine THEN
        EXECUTE format('ALTER EXTENSION pgmq ADD TABLE pgmq.%I', queue);
        EXECUTE format('ALTER EXTENSION pgmq ADD SEQUENCE pgmq.%I', queue || '_msg_id_seq');
        EXECUTE format('ALTER EXTENSION pgmq ADD TABLE pgmq.%I', archive);
    END IF;
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON pgmq.%I (vt)', queue || '_vt_idx', queue);
    INSERT INTO pgmq.meta VALUES (queue_name, false, true) ON CONFLICT DO NOTHING;
END $$;

CREATE FUNCTION drop_queue(queue text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER EXTENSION pgmq DROP TABLE pgmq.%I', 'q_' || queue);
    EXECUTE format('ALTER EXTENSION pgmq DROP SEQUENCE pgmq.%I', 'q_' || queue || '_msg_id_seq');
    EXECUTE format('ALTER EXTENSION pgmq DROP TABLE pgmq.%I', 'a_' || queue);
    EXECUTE format('DROP TABLE pgmq.%I', 'q_' || queue);
    EXECUTE format('DROP TABLE pgmq.%I', 'a_' || queue);
    DELETE FROM pgmq.meta WHERE queue_name = queue;
    RETURN true;
END $$;

CREATE FUNCTION send(queue_name text, msg jsonb) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'INSERT INTO pgmq.%I (vt, message) VALUES (clock_timestamp(), $1) RETURNING msg_id',
        'q_' || queue_name) USING msg;
END $$;
