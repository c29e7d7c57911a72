-- A database of hookchain 0.1.0 (commit ef98b4c), made by its own code and dumped by pg_dump. All times are near
-- 1764000000000. It holds: a finished submission and its task, two that wait, an uncertain one (upstream "other"), a dead
-- one; a dead delivery and one that waits; an event that nobody has fanned out; two quarantined callbacks, after a third
-- was dropped; an intent whose chain is gone; a worker's lease, lapsed.
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.attempts (
    submission_id character varying NOT NULL,
    number integer NOT NULL,
    started_at_ms bigint NOT NULL,
    finished_at_ms bigint,
    http_status integer,
    outcome character varying NOT NULL,
    reason text NOT NULL,
    answer bytea NOT NULL
);
CREATE TABLE public.chains (
    id character varying NOT NULL,
    upstream character varying NOT NULL,
    root_task_id character varying NOT NULL,
    submissions integer NOT NULL,
    created_at_ms bigint NOT NULL,
    prompt text DEFAULT ''::text NOT NULL
);
CREATE TABLE public.deliveries (
    id bigint NOT NULL,
    event_id bigint NOT NULL,
    receiver character varying NOT NULL,
    state character varying NOT NULL,
    attempts integer NOT NULL,
    run_at_ms bigint NOT NULL,
    decision text NOT NULL,
    error text NOT NULL,
    created_at_ms bigint NOT NULL,
    updated_at_ms bigint NOT NULL,
    excused integer DEFAULT 0 NOT NULL,
    lane character varying DEFAULT ''::character varying NOT NULL,
    fired boolean DEFAULT false NOT NULL,
    worker character varying DEFAULT ''::character varying NOT NULL
);
CREATE SEQUENCE public.deliveries_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.deliveries_id_seq OWNED BY public.deliveries.id;
CREATE TABLE public.events (
    id bigint NOT NULL,
    upstream character varying NOT NULL,
    task_id character varying NOT NULL,
    submission_id character varying NOT NULL,
    source character varying NOT NULL,
    signal character varying,
    action character varying NOT NULL,
    status character varying NOT NULL,
    progress integer,
    advanced boolean NOT NULL,
    pending boolean NOT NULL,
    detail text NOT NULL,
    payload bytea NOT NULL,
    received_at_ms bigint NOT NULL,
    generation bigint DEFAULT '0'::bigint NOT NULL
);
CREATE SEQUENCE public.events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.events_id_seq OWNED BY public.events.id;
CREATE TABLE public.firings (
    receiver character varying NOT NULL,
    scope character varying NOT NULL,
    count integer NOT NULL
);
CREATE TABLE public.leases (
    name character varying NOT NULL,
    holder character varying NOT NULL,
    since_ms bigint NOT NULL,
    until_ms bigint NOT NULL
);
CREATE TABLE public.meta (
    key character varying NOT NULL,
    value character varying NOT NULL
);
CREATE TABLE public.quarantine (
    id bigint NOT NULL,
    upstream character varying NOT NULL,
    submission_id character varying NOT NULL,
    content_type character varying NOT NULL,
    reason text NOT NULL,
    body bytea NOT NULL,
    received_at_ms bigint NOT NULL
);
CREATE SEQUENCE public.quarantine_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.quarantine_id_seq OWNED BY public.quarantine.id;
CREATE TABLE public.spent (
    idempotency_key character varying NOT NULL,
    submission_id character varying NOT NULL
);
CREATE TABLE public.submissions (
    id character varying NOT NULL,
    idempotency_key character varying NOT NULL,
    chain_id character varying NOT NULL,
    upstream character varying NOT NULL,
    kind character varying NOT NULL,
    label character varying NOT NULL,
    request bytea NOT NULL,
    parent_id character varying NOT NULL,
    depth integer NOT NULL,
    asked_by character varying NOT NULL,
    state character varying NOT NULL,
    outcome character varying NOT NULL,
    reason text NOT NULL,
    task_ids text NOT NULL,
    attempts integer NOT NULL,
    run_at_ms bigint NOT NULL,
    started_at_ms bigint,
    created_at_ms bigint NOT NULL,
    updated_at_ms bigint NOT NULL,
    lane character varying DEFAULT ''::character varying NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    queue_at_ms bigint DEFAULT '0'::bigint NOT NULL,
    forgiven integer DEFAULT 0 NOT NULL,
    repeats integer DEFAULT 0 NOT NULL,
    worker character varying DEFAULT ''::character varying NOT NULL
);
CREATE TABLE public.tasks (
    upstream character varying NOT NULL,
    id character varying NOT NULL,
    status character varying NOT NULL,
    progress integer NOT NULL,
    action character varying NOT NULL,
    chain_id character varying,
    submission_id character varying,
    parent_id character varying NOT NULL,
    depth integer NOT NULL,
    created_at_ms bigint NOT NULL,
    updated_at_ms bigint NOT NULL,
    finished_at_ms bigint,
    looked_at_ms bigint,
    misses integer DEFAULT 0 NOT NULL,
    prompt text DEFAULT ''::text NOT NULL
);
CREATE TABLE public.traffic (
    minute_ms bigint NOT NULL,
    series character varying NOT NULL,
    happened bigint NOT NULL,
    total_us bigint NOT NULL,
    slowest_us bigint NOT NULL
);
CREATE TABLE public.upstreams (
    name character varying NOT NULL,
    paused boolean NOT NULL,
    rate_paid_until_us bigint NOT NULL,
    held_until_ms bigint NOT NULL,
    failures integer NOT NULL,
    open_until_ms bigint NOT NULL,
    open_ms bigint NOT NULL
);
ALTER TABLE ONLY public.deliveries ALTER COLUMN id SET DEFAULT nextval('public.deliveries_id_seq'::regclass);
ALTER TABLE ONLY public.events ALTER COLUMN id SET DEFAULT nextval('public.events_id_seq'::regclass);
ALTER TABLE ONLY public.quarantine ALTER COLUMN id SET DEFAULT nextval('public.quarantine_id_seq'::regclass);
INSERT INTO public.alembic_version (version_num) VALUES ('0010');
INSERT INTO public.attempts (submission_id, number, started_at_ms, finished_at_ms, http_status, outcome, reason, answer) VALUES ('f868e0ed0d95ab06969188ff', 1, 1764000001500, 1764000000200, 200, 'accepted', '', '\x7b22636f6465223a312c22726573756c74223a2231373634303030303030303030303031227d');
INSERT INTO public.attempts (submission_id, number, started_at_ms, finished_at_ms, http_status, outcome, reason, answer) VALUES ('403b2a432b35d2120726a545', 1, 1764000001500, 1764000001100, NULL, 'uncertain', 'the answer did not come', '\x');
INSERT INTO public.attempts (submission_id, number, started_at_ms, finished_at_ms, http_status, outcome, reason, answer) VALUES ('130b6236194e1f27549c635e', 1, 1764000001500, 1764000001300, 401, 'rejected:auth', 'HTTP 401', '\x');
INSERT INTO public.chains (id, upstream, root_task_id, submissions, created_at_ms, prompt) VALUES ('e55d3acddfeef9df', 'main', '1764000000000001', 1, 1764000000000, 'a cat');
INSERT INTO public.chains (id, upstream, root_task_id, submissions, created_at_ms, prompt) VALUES ('a5d2d50fb326e484', 'other', '', 1, 1764000001000, 'a dog');
INSERT INTO public.chains (id, upstream, root_task_id, submissions, created_at_ms, prompt) VALUES ('46e78f446261ba94', 'main', '', 1, 1764000001200, 'a horse');
INSERT INTO public.chains (id, upstream, root_task_id, submissions, created_at_ms, prompt) VALUES ('0534ef9a4c5850a3', 'main', '', 1, 1764000002000, 'a bird');
INSERT INTO public.chains (id, upstream, root_task_id, submissions, created_at_ms, prompt) VALUES ('8fce3fbcf10f9b2a', 'main', '', 1, 1764000002001, 'a fish');
INSERT INTO public.chains (id, upstream, root_task_id, submissions, created_at_ms, prompt) VALUES ('21cf64848d9b26df', 'main', '1764000000000002', 0, 1764000002200, 'a cat');
INSERT INTO public.deliveries (id, event_id, receiver, state, attempts, run_at_ms, decision, error, created_at_ms, updated_at_ms, excused, lane, fired, worker) VALUES (1, 3, 'rule:late', 'dead', 1, 1764000000500, 'failed 8 times', 'Traceback: it broke', 1764000000500, 1764000001400, 0, 'main|1764000000000001', false, '');
INSERT INTO public.deliveries (id, event_id, receiver, state, attempts, run_at_ms, decision, error, created_at_ms, updated_at_ms, excused, lane, fired, worker) VALUES (2, 4, 'rule:late', 'waiting', 0, 1764000002200, '', '', 1764000002200, 1764000002200, 0, 'main|1764000000000002', false, '');
INSERT INTO public.events (id, upstream, task_id, submission_id, source, signal, action, status, progress, advanced, pending, detail, payload, received_at_ms, generation) VALUES (1, 'main', '1764000000000001', 'f868e0ed0d95ab06969188ff', 'answer', 'submission.accepted', 'IMAGINE', 'accepted', NULL, false, false, '', '\x7b22636f6465223a312c22726573756c74223a2231373634303030303030303030303031227d', 1764000000200, 0);
INSERT INTO public.events (id, upstream, task_id, submission_id, source, signal, action, status, progress, advanced, pending, detail, payload, received_at_ms, generation) VALUES (2, 'main', '1764000000000001', '', 'callback', 'task.started', 'IMAGINE', 'IN_PROGRESS', 50, true, false, '', '\x7b226964223a202231373634303030303030303030303031222c2022616374696f6e223a2022494d4147494e45222c2022737461747573223a2022494e5f50524f4752455353222c202270726f6d7074223a20226120636174222c202270726f6772657373223a2022353025227d', 1764000000300, 0);
INSERT INTO public.events (id, upstream, task_id, submission_id, source, signal, action, status, progress, advanced, pending, detail, payload, received_at_ms, generation) VALUES (3, 'main', '1764000000000001', '', 'callback', 'task.succeeded', 'IMAGINE', 'SUCCESS', 100, true, false, '', '\x7b226964223a202231373634303030303030303030303031222c2022616374696f6e223a2022494d4147494e45222c2022737461747573223a202253554343455353222c202270726f6d7074223a20226120636174222c202270726f6772657373223a202231303025227d', 1764000000400, 0);
INSERT INTO public.events (id, upstream, task_id, submission_id, source, signal, action, status, progress, advanced, pending, detail, payload, received_at_ms, generation) VALUES (4, 'main', '1764000000000002', '', 'callback', 'task.succeeded', 'IMAGINE', 'SUCCESS', 100, true, false, '', '\x7b226964223a202231373634303030303030303030303032222c2022616374696f6e223a2022494d4147494e45222c2022737461747573223a202253554343455353222c202270726f6d7074223a20226120636174222c202270726f6772657373223a202231303025227d', 1764000002100, 0);
INSERT INTO public.events (id, upstream, task_id, submission_id, source, signal, action, status, progress, advanced, pending, detail, payload, received_at_ms, generation) VALUES (5, 'main', '1764000000000003', '', 'callback', 'task.succeeded', 'IMAGINE', 'SUCCESS', 100, true, true, '', '\x7b226964223a202231373634303030303030303030303033222c2022616374696f6e223a2022494d4147494e45222c2022737461747573223a202253554343455353222c202270726f6d7074223a20226120636174222c202270726f6772657373223a202231303025227d', 1764000002300, 0);
INSERT INTO public.firings (receiver, scope, count) VALUES ('rule:late', 'task:main|1764000000000001', 1);
INSERT INTO public.leases (name, holder, since_ms, until_ms) VALUES ('fan_out', '', 0, 0);
INSERT INTO public.leases (name, holder, since_ms, until_ms) VALUES ('worker:w1', 'w1', 1764000000000, 1764000012000);
INSERT INTO public.leases (name, holder, since_ms, until_ms) VALUES ('leader', 'w1', 1764000000000, 1764000012000);
INSERT INTO public.meta (key, value) VALUES ('secret', 'recorded');
INSERT INTO public.quarantine (id, upstream, submission_id, content_type, reason, body, received_at_ms) VALUES (1, 'main', '', 'text/plain', 'invalid JSON', '\x006f6464', 1764000000000);
INSERT INTO public.quarantine (id, upstream, submission_id, content_type, reason, body, received_at_ms) VALUES (2, 'main', '', 'text/plain', 'invalid JSON', '\x006f6464', 1764000000001);
INSERT INTO public.spent (idempotency_key, submission_id) VALUES ('spent', 'gone');
INSERT INTO public.submissions (id, idempotency_key, chain_id, upstream, kind, label, request, parent_id, depth, asked_by, state, outcome, reason, task_ids, attempts, run_at_ms, started_at_ms, created_at_ms, updated_at_ms, lane, priority, queue_at_ms, forgiven, repeats, worker) VALUES ('f868e0ed0d95ab06969188ff', 'accepted', 'e55d3acddfeef9df', 'main', 'imagine', 'imagine', '\x7b226b696e64223a22696d6167696e65222c226578747261223a7b7d2c2270726f6d7074223a226120636174222c22696d61676573223a5b5d2c22626f745f74797065223a22227d', '', 0, 'test', 'accepted', 'accepted', '', '["1764000000000001"]', 1, 1764000000000, 1764000001500, 1764000000000, 1764000000200, '', 0, 1764000000000, 0, 0, '');
INSERT INTO public.submissions (id, idempotency_key, chain_id, upstream, kind, label, request, parent_id, depth, asked_by, state, outcome, reason, task_ids, attempts, run_at_ms, started_at_ms, created_at_ms, updated_at_ms, lane, priority, queue_at_ms, forgiven, repeats, worker) VALUES ('403b2a432b35d2120726a545', 'uncertain', 'a5d2d50fb326e484', 'other', 'imagine', 'imagine', '\x7b226b696e64223a22696d6167696e65222c226578747261223a7b7d2c2270726f6d7074223a226120646f67222c22696d61676573223a5b5d2c22626f745f74797065223a22227d', '', 0, 'test', 'uncertain', 'uncertain', 'the answer did not come', '[]', 1, 1764000001000, 1764000001500, 1764000001000, 1764000001100, '', 0, 1764000001000, 0, 0, '');
INSERT INTO public.submissions (id, idempotency_key, chain_id, upstream, kind, label, request, parent_id, depth, asked_by, state, outcome, reason, task_ids, attempts, run_at_ms, started_at_ms, created_at_ms, updated_at_ms, lane, priority, queue_at_ms, forgiven, repeats, worker) VALUES ('130b6236194e1f27549c635e', 'dead', '46e78f446261ba94', 'main', 'imagine', 'imagine', '\x7b226b696e64223a22696d6167696e65222c226578747261223a7b7d2c2270726f6d7074223a226120686f727365222c22696d61676573223a5b5d2c22626f745f74797065223a22227d', '', 0, 'test', 'dead', 'rejected:auth', 'HTTP 401', '[]', 1, 1764000001200, 1764000001500, 1764000001200, 1764000001300, '', 0, 1764000001200, 0, 0, '');
INSERT INTO public.submissions (id, idempotency_key, chain_id, upstream, kind, label, request, parent_id, depth, asked_by, state, outcome, reason, task_ids, attempts, run_at_ms, started_at_ms, created_at_ms, updated_at_ms, lane, priority, queue_at_ms, forgiven, repeats, worker) VALUES ('88a232596a92daf90b074762', 'waiting', '0534ef9a4c5850a3', 'main', 'imagine', 'imagine', '\x7b226b696e64223a22696d6167696e65222c226578747261223a7b7d2c2270726f6d7074223a22612062697264222c22696d61676573223a5b5d2c22626f745f74797065223a22227d', '', 0, 'test', 'waiting', '', '', '[]', 0, 1764000002000, NULL, 1764000002000, 1764000002000, '', 0, 1764000002000, 0, 0, '');
INSERT INTO public.submissions (id, idempotency_key, chain_id, upstream, kind, label, request, parent_id, depth, asked_by, state, outcome, reason, task_ids, attempts, run_at_ms, started_at_ms, created_at_ms, updated_at_ms, lane, priority, queue_at_ms, forgiven, repeats, worker) VALUES ('1a047dccbd9971ee28eb1e4d', 'waiting too', '8fce3fbcf10f9b2a', 'main', 'imagine', 'imagine', '\x7b226b696e64223a22696d6167696e65222c226578747261223a7b7d2c2270726f6d7074223a22612066697368222c22696d61676573223a5b5d2c22626f745f74797065223a22227d', '', 0, 'test', 'waiting', '', '', '[]', 0, 1764000002001, NULL, 1764000002001, 1764000002001, '', 0, 1764000002001, 0, 0, '');
INSERT INTO public.tasks (upstream, id, status, progress, action, chain_id, submission_id, parent_id, depth, created_at_ms, updated_at_ms, finished_at_ms, looked_at_ms, misses, prompt) VALUES ('main', '1764000000000001', 'SUCCESS', 100, 'IMAGINE', 'e55d3acddfeef9df', 'f868e0ed0d95ab06969188ff', '', 0, 1764000000200, 1764000000400, 1764000000400, NULL, 0, 'a cat');
INSERT INTO public.tasks (upstream, id, status, progress, action, chain_id, submission_id, parent_id, depth, created_at_ms, updated_at_ms, finished_at_ms, looked_at_ms, misses, prompt) VALUES ('main', '1764000000000002', 'SUCCESS', 100, 'IMAGINE', '21cf64848d9b26df', NULL, '', 0, 1764000002100, 1764000002100, 1764000002100, NULL, 0, 'a cat');
INSERT INTO public.tasks (upstream, id, status, progress, action, chain_id, submission_id, parent_id, depth, created_at_ms, updated_at_ms, finished_at_ms, looked_at_ms, misses, prompt) VALUES ('main', '1764000000000003', 'SUCCESS', 100, 'IMAGINE', NULL, NULL, '', 0, 1764000002300, 1764000002300, 1764000002300, NULL, 0, 'a cat');
INSERT INTO public.traffic (minute_ms, series, happened, total_us, slowest_us) VALUES (1764000000000, 'callbacks', 3, 3000, 1500);
INSERT INTO public.upstreams (name, paused, rate_paid_until_us, held_until_ms, failures, open_until_ms, open_ms) VALUES ('main', false, 0, 0, 0, 0, 0);
INSERT INTO public.upstreams (name, paused, rate_paid_until_us, held_until_ms, failures, open_until_ms, open_ms) VALUES ('other', false, 0, 0, 0, 0, 0);
SELECT pg_catalog.setval('public.deliveries_id_seq', 2, true);
SELECT pg_catalog.setval('public.events_id_seq', 5, true);
SELECT pg_catalog.setval('public.quarantine_id_seq', 3, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (submission_id, number);
ALTER TABLE ONLY public.chains
    ADD CONSTRAINT chains_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.firings
    ADD CONSTRAINT firings_pkey PRIMARY KEY (receiver, scope);
ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.meta
    ADD CONSTRAINT meta_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT one_delivery_per_receiver UNIQUE (event_id, receiver);
ALTER TABLE ONLY public.submissions
    ADD CONSTRAINT one_submission_per_intent UNIQUE (idempotency_key);
ALTER TABLE ONLY public.quarantine
    ADD CONSTRAINT quarantine_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.spent
    ADD CONSTRAINT spent_pkey PRIMARY KEY (idempotency_key);
ALTER TABLE ONLY public.submissions
    ADD CONSTRAINT submissions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (upstream, id);
ALTER TABLE ONLY public.traffic
    ADD CONSTRAINT traffic_pkey PRIMARY KEY (minute_ms, series);
ALTER TABLE ONLY public.upstreams
    ADD CONSTRAINT upstreams_pkey PRIMARY KEY (name);
CREATE INDEX chains_by_age ON public.chains USING btree (created_at_ms, id);
CREATE INDEX deliveries_by_state ON public.deliveries USING btree (state, run_at_ms);
CREATE INDEX deliveries_in_lane ON public.deliveries USING btree (receiver, lane, id) WHERE ((state)::text = ANY ((ARRAY['waiting'::character varying, 'running'::character varying])::text[]));
CREATE INDEX events_of_submission ON public.events USING btree (submission_id) WHERE ((submission_id)::text <> ''::text);
CREATE INDEX events_of_task ON public.events USING btree (upstream, task_id, id);
CREATE INDEX events_pending ON public.events USING btree (id) WHERE pending;
CREATE INDEX submissions_by_age ON public.submissions USING btree (created_at_ms, id);
CREATE INDEX submissions_by_hour ON public.submissions USING btree (upstream, created_at_ms);
CREATE INDEX submissions_by_state ON public.submissions USING btree (state, run_at_ms);
CREATE INDEX submissions_in_lane ON public.submissions USING btree (lane) WHERE ((lane)::text <> ''::text);
CREATE INDEX submissions_of_chain ON public.submissions USING btree (chain_id);
CREATE INDEX submissions_of_parent ON public.submissions USING btree (parent_id);
CREATE INDEX submissions_waiting ON public.submissions USING btree (upstream, queue_at_ms) WHERE ((state)::text = 'waiting'::text);
CREATE INDEX tasks_by_age ON public.tasks USING btree (created_at_ms, id);
CREATE INDEX tasks_of_chain ON public.tasks USING btree (chain_id) WHERE (chain_id IS NOT NULL);
CREATE INDEX tasks_of_submission ON public.tasks USING btree (submission_id) WHERE (submission_id IS NOT NULL);
CREATE INDEX tasks_open ON public.tasks USING btree (upstream, updated_at_ms) WHERE (finished_at_ms IS NULL);
CREATE INDEX tasks_unchained ON public.tasks USING btree (created_at_ms, id) WHERE (chain_id IS NULL);
