import { Button, Checkbox, TextInput } from '@mantine/core'
import { IconCheck, IconHandStop, IconX } from '@tabler/icons-react'
import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import type { CallDecision } from '../../../src/api/records.ts'
import type { RunState } from '../../../src/domain/state.ts'
import { client } from '../api/client.ts'
import { answerOf, messageOf } from '../api/problem.ts'
import { useMayNot } from '../api/use-may.ts'
import { Code } from '../code/code.tsx'
import { seenIn } from '../run/answers.ts'
import type { RunView } from '../run/run-view.ts'
import { DECISION_ID } from '../run-page/use-run-shortcuts.ts'
import { Asked } from '../timeline/tool-body.tsx'
import { textArg } from '../timeline/tool-gist.ts'
import { visible } from '../ui/foreign-text.ts'
import { formatClock, formatMoment } from '../ui/format.ts'
import { useNow } from '../ui/use-now.ts'
import classes from './decide-panel.module.css'

type Waiting = Extract<RunState['phase'], { type: 'awaiting_approval' }>

/** A call that begins only when a person allows it. */
export function ApprovalPanel({
  runId,
  open,
  view,
}: {
  readonly runId: string
  readonly open: Waiting
  readonly view: RunView
}) {
  const { seq, callSha256: call_sha256, rule } = open
  const [reason, setReason] = useState('')
  const [liftsRule, setLiftsRule] = useState(false)
  const since = view.records[seq]?.ts ?? 0
  const now = useNow(1000) / 1000
  const answer = useMutation({
    mutationFn: (decision: CallDecision) => {
      const lifts_rule = liftsRule && decision === 'allow'
      const why = { reason: reason.trim() || null, seen: seenIn(view) }
      return answerOf(
        client().runs.answer(runId, seq, { decision, call_sha256, lifts_rule, ...why }),
      )
    },
  })
  const mayNot = useMayNot('runs:decide')
  const busy = answer.isPending || answer.isSuccess
  return (
    <section className={classes.panel} aria-label="Your decision" data-testid="approval">
      <span className={classes.hand} aria-hidden>
        <IconHandStop size={22} stroke={2} />
      </span>
      <div className={classes.text}>
        <h2 className={classes.title}>
          {`May the agent call ${visible(open.pending[0]?.tool ?? '')}?`}
          <span className={classes.since} title={`Asked at ${formatMoment(since)}`}>
            {formatClock(now - since)}, since record {seq}
          </span>
        </h2>
        <WaitingCall open={open} />
        {answer.isError && (
          <p className={classes.problem} role="alert">
            {messageOf(answer.error)}
          </p>
        )}
      </div>
      {mayNot === null ? (
        <form
          className={classes.form}
          onSubmit={(event) => {
            event.preventDefault()
            answer.mutate('allow')
          }}
        >
          <TextInput
            id={DECISION_ID}
            aria-label="Reason: it is recorded, and the model reads it if you deny the call"
            placeholder="Optional reason"
            value={reason}
            onChange={(event) => setReason(event.currentTarget.value)}
            disabled={busy}
          />
          {rule.of === 'run' && (
            <Checkbox
              label="Stop asking for this rule in this run"
              checked={liftsRule}
              onChange={(event) => setLiftsRule(event.currentTarget.checked)}
              disabled={busy}
            />
          )}
          <div className={classes.buttons}>
            <Button
              type="submit"
              className={classes.approve}
              leftSection={<IconCheck size={17} />}
              loading={answer.isPending && answer.variables === 'allow'}
              disabled={busy}
            >
              Allow
            </Button>
            <Button
              variant="default"
              leftSection={<IconX size={16} />}
              loading={answer.isPending && answer.variables === 'deny'}
              disabled={busy}
              onClick={() => answer.mutate('deny')}
            >
              Deny
            </Button>
          </div>
        </form>
      ) : (
        <p className={classes.summary}>{mayNot}</p>
      )}
    </section>
  )
}

/** The call in full, and the rule that asks. */
function WaitingCall({ open }: { readonly open: Waiting }) {
  const [call] = open.pending
  const { rule, content, doubt } = open
  if (call === undefined) return null
  const path = textArg(call.args, 'path')
  const command = textArg(call.args, 'command')
  const isEdit = call.tool === 'file_patch' || call.tool === 'file_write'
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <section className={classes.words} tabIndex={0} aria-label="What is asked">
      {path !== null && <p className={classes.summary}>{visible(path)}</p>}
      {command !== null && <Code text={`$ ${command}`} look="terminal" />}
      {isEdit ? (
        <Asked name={`approval ${open.seq}`} call={call} />
      ) : (
        <Code text={call.raw_args ?? JSON.stringify(call.args, null, 2)} language="json" />
      )}
      <p className={classes.before}>
        Rule {rule.index + 1} of the {rule.of} asks
        {content.reason === undefined ? '.' : `: ${visible(content.reason)}`}
        {doubt !== null &&
          ` It holds because the call cannot be judged with certainty: ${visible(doubt)}.`}
        {content.by === 'other_than_starter' &&
          ' Somebody else than who started the run must answer.'}
      </p>
    </section>
  )
}
