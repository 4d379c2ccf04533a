import { Pill, TagsInput } from '@mantine/core'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import type { RunDetails } from '../../../src/client/index.ts'
import { client } from '../api/client.ts'
import { answerOf, messageOf } from '../api/problem.ts'
import { runQuery } from '../api/queries.ts'
import { useMayNot } from '../api/use-may.ts'
import { visible } from '../ui/foreign-text.ts'
import { Panel } from './panel.tsx'

/** What the run is found by. Each change is sent at once, also after the end of the run. */
export function TagsPanel({ run_id, tags = [] }: Pick<RunDetails, 'run_id' | 'tags'>) {
  const queries = useQueryClient()
  const mayNot = useMayNot('runs:configure')
  // At once, because the next tag is added to what is shown.
  const [chosen, choose] = useState<string[] | null>(null)
  const change = useMutation({
    // One after the other, so that the last one stays.
    scope: { id: `tags ${run_id}` },
    mutationFn: (tags: string[]) => answerOf(client().runs.configure(run_id, { tags })),
    onError: () => choose(null),
    onSuccess: (run) => queries.setQueryData(runQuery(run_id).queryKey, run),
  })
  const shown = chosen ?? [...tags]
  if (mayNot !== null && shown.length === 0) return null
  return (
    <Panel title="Tags">
      {mayNot === null ? (
        <TagsInput
          aria-label="Tags of the run"
          placeholder={shown.length === 0 ? 'Add a tag, then Enter' : undefined}
          value={shown}
          maxTags={20}
          maxLength={64}
          onChange={(next) => {
            choose(next)
            change.mutate(next)
          }}
          error={change.error && messageOf(change.error)}
        />
      ) : (
        <Pill.Group>
          {shown.map((tag) => (
            <Pill key={tag}>{visible(tag)}</Pill>
          ))}
        </Pill.Group>
      )}
    </Panel>
  )
}
