import * as z from 'zod'
import { LedgerName, LedgerProof, PublishedKeys, RunProof } from '../../api/audit.ts'
import { LedgerParams, ListKeysQuery } from '../../api/audit-requests.ts'
import { RunParams } from '../../api/run-queries.ts'
import type { Audit } from '../../audit/audit.ts'
import type { ZodApp } from '../deps.ts'
import {
  AUDIT_PROBLEMS,
  described,
  problems,
  sendProblem,
  sendResult,
} from '../problems/problem.ts'
import { auditProblem } from '../problems/problem-of.ts'
import { NDJSON, sendStream } from '../replies/format.ts'

const KEEP_IT =
  'Each hash covers the one before it, so with a kept proof a client can check later whether a record up to ' +
  'there was changed, dropped or added.'

/** GET /api/keys, of runs: proof and export; GET /api/ledgers, /api/ledgers/{name}, /api/access/proof */
export function proofs(app: ZodApp, audit: Audit): void {
  listKeys(app, audit)
  proveRun(app, audit)
  exportRun(app, audit)
  listLedgers(app, audit)
  readLedger(app, audit)
  proveAccesses(app, audit)
}

function listKeys(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/keys',
    config: { needs: 'runs:verify' },
    schema: {
      operationId: 'listKeys',
      tags: ['audit'],
      summary: 'The public keys that this server signs with, newest first',
      description:
        'Keep the fingerprints somewhere else, to check proofs and exports against them. ' +
        'The list keeps keys that were replaced, and their signatures remain valid. Servers that share a log ' +
        'publish their keys in it, with their checkpoints: `all=true` lists these too.',
      querystring: ListKeysQuery,
      response: { 200: described('The keys', PublishedKeys), ...problems('keys_unusable') },
    },
    handler: async (request, reply) =>
      sendResult(request, reply, audit.keys(request.query.all === 'true'), auditProblem),
  })
}

function proveRun(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/runs/:run_id/proof',
    config: { needs: 'runs:verify' },
    schema: {
      operationId: 'proveRun',
      tags: ['audit'],
      summary: 'A signed statement of how many records a run has, and of the hash of the last',
      description: `${KEEP_IT} GET /api/checkpoints/latest/runs/{run_id} proves that the run is one of all runs of this server.`,
      params: RunParams,
      response: {
        200: described('The proof', RunProof),
        ...problems('run_not_found', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) =>
      sendResult(request, reply, audit.prove(request.runId), auditProblem),
  })
}

function exportRun(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/runs/:run_id/export',
    config: { needs: 'runs:export' },
    // The server makes an export while it sends it, so it has nothing to answer a HEAD with.
    exposeHeadRoute: false,
    schema: {
      operationId: 'exportRun',
      tags: ['audit'],
      summary: 'Everything that the server has of a run, as one file that can be verified offline',
      description:
        'A .tar.gz with the records, the artifacts that they name, a signed proof, the public keys and ' +
        'a signed manifest. `retrai verify FILE` checks it without server or network. The export holds ' +
        'the run as of the moment of the request. If the download breaks off, the archive is not complete.',
      params: RunParams,
      response: {
        200: described('The archive', z.string().meta({ format: 'binary' }), 'application/gzip'),
        ...problems('run_not_found', 'redacted_meanwhile', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { runId } = request
      const sent = (await audit.exportRun(runId)).map((archive) => {
        reply.header('content-disposition', `attachment; filename="retrai-run-${runId}.tar.gz"`)
        return sendStream(reply, 'application/gzip', archive)
      })
      return sendResult(request, reply, sent, auditProblem)
    },
  })
}

function listLedgers(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/ledgers',
    config: { needs: 'access:read' },
    schema: {
      operationId: 'listLedgers',
      tags: ['audit'],
      summary: 'A signed statement of each ledger that the log holds in addition to the runs',
      description:
        'A ledger is a stream of entries, chained by hashes like the records of a run: who read ' +
        'what (`access`), the tokens (`tokens`), the redactions (`redactions`).',
      response: {
        200: described('One proof for each ledger', z.array(LedgerProof)),
        ...problems(...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const proofs = (await audit.proveLedgers()).map((all) => [...all])
      return sendResult(request, reply, proofs, auditProblem)
    },
  })
}

function readLedger(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/ledgers/:name',
    config: { needs: 'access:read' },
    // The server makes the lines while it sends them, so it has nothing to answer a HEAD with.
    exposeHeadRoute: false,
    schema: {
      operationId: 'readLedger',
      tags: ['audit'],
      summary: 'All entries of a ledger, in the form in which they can be verified',
      description:
        'Lines with a checksum (docs/verification.md). `retrai verify --server URL` ' +
        'compares them with the proof. If the server cannot send them all, the response breaks off.',
      params: LedgerParams,
      response: {
        200: described('One JSON object a line', z.string(), NDJSON),
        ...problems('not_found', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const name = LedgerName.safeParse(request.params.name)
      if (!name.success) return sendProblem(request, reply, { code: 'not_found' })
      return sendStream(reply, NDJSON, audit.ledgerLines(name.data))
    },
  })
}

function proveAccesses(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/access/proof',
    config: { needs: 'access:read' },
    schema: {
      operationId: 'proveAccesses',
      tags: ['audit'],
      summary:
        'A signed statement of how many entries the access log has, and of the hash of the last',
      description: KEEP_IT.replace('a record', 'an entry'),
      response: { 200: described('The proof', LedgerProof), ...problems(...AUDIT_PROBLEMS) },
    },
    handler: async (request, reply) =>
      sendResult(request, reply, audit.proveLedger('access'), auditProblem),
  })
}
