import { Button, Kbd, Pill, Popover, Stack, TagsInput, TextInput } from '@mantine/core'
import { IconAdjustmentsHorizontal, IconSearch } from '@tabler/icons-react'
import { useEffect, useRef, useState } from 'react'
import { RUN_STATUSES } from '../../../src/api/records.ts'
import type { RunSummary } from '../../../src/client/index.ts'
import { useStatusNames } from '../api/use-may.ts'
import { bound } from '../ui/field.ts'
import { useShortcuts } from '../ui/use-shortcuts.ts'
import classes from './runs-page.module.css'
import type { Filter, TextName } from './use-filter.ts'

type Props = {
  readonly filter: Filter
  readonly onChange: (changes: Partial<Filter>) => void
  /** Whose projects, models and persons are suggested. */
  readonly runs: readonly RunSummary[]
}

export function FilterBar({ filter, onChange, runs }: Props) {
  const names = useStatusNames()
  return (
    <div className={classes.bar}>
      <fieldset className={classes.statuses}>
        <legend className={classes.legend}>Status</legend>
        {([undefined, ...RUN_STATUSES] as const).map((status) => (
          <button
            key={status ?? 'all'}
            type="button"
            className={classes.status}
            data-status={status ?? 'all'}
            aria-pressed={filter.status === status}
            onClick={() => onChange({ status })}
          >
            {status === undefined ? 'All' : names[status]}
          </button>
        ))}
      </fieldset>
      <div className={classes.right}>
        <MoreFilters filter={filter} onChange={onChange} runs={runs} />
        <TextFilter filter={filter} onChange={onChange} />
      </div>
      <Chosen filter={filter} onChange={onChange} />
    </div>
  )
}

/** A person types on for a moment before the list is read. */
const TYPING_MS = 250

function TextFilter({ filter: { q = '' }, onChange }: Omit<Props, 'runs'>) {
  const input = useRef<HTMLInputElement>(null)
  const [text, setText] = useState(q)
  useShortcuts([['/', () => input.current?.focus()]])
  // What is typed keeps its space at the end, for the next word.
  useEffect(() => setText((typed) => (typed.trim() === q ? typed : q)), [q])
  // biome-ignore lint/correctness/useExhaustiveDependencies: onChange is another function each time
  useEffect(() => {
    if (text.trim() === q) return
    const timer = setTimeout(() => onChange({ q: text.trim() || undefined }), TYPING_MS)
    return () => clearTimeout(timer)
  }, [text, q])
  return (
    <TextInput
      ref={input}
      type="search"
      aria-label="Search by title, goal, folder, tag or run id"
      placeholder="Title, folder, tag, id"
      leftSection={<IconSearch size={16} aria-hidden />}
      rightSection={
        <Kbd size="xs" className={classes.key}>
          /
        </Kbd>
      }
      {...bound(text, setText)}
      maxLength={200}
      className={classes.search}
    />
  )
}

const FIELDS: readonly (readonly [TextName, string, 'text' | 'date' | 'number'])[] = [
  ['goal', 'Goal', 'text'],
  ['project', 'Project', 'text'],
  ['model', 'Model', 'text'],
  ['principal', 'Started by', 'text'],
  ['from', 'Started on or after', 'date'],
  ['to', 'Started on or before', 'date'],
  ['min_cost_usd', 'Cost at least, US dollars', 'number'],
  ['max_cost_usd', 'Cost at most, US dollars', 'number'],
]
const LABELS = new Map<string, string>(FIELDS.map(([name, label]) => [name, label]))

const valuesOf = (runs: readonly RunSummary[], name: TextName): readonly string[] => {
  const values = runs.map((run) =>
    name === 'model'
      ? run.model_name
      : name === 'goal' || name === 'project' || name === 'principal'
        ? run[name]
        : null,
  )
  return [
    ...new Set(values.filter((value) => value != null && value !== '')),
  ].toSorted() as string[]
}

/** What few filter by. A filter applies when its field is left, or with Enter. */
function MoreFilters({ filter, onChange, runs }: Props) {
  return (
    <Popover
      width={300}
      position="bottom-end"
      trapFocus
      withinPortal
      middlewares={{ size: { padding: 8 } }}
    >
      <Popover.Target>
        <Button variant="default" leftSection={<IconAdjustmentsHorizontal size={16} aria-hidden />}>
          Filters
        </Button>
      </Popover.Target>
      <Popover.Dropdown className={classes.more}>
        <Stack gap="xs">
          {FIELDS.map(([name, label, type]) => (
            <TextInput
              key={`${name} ${filter[name] ?? ''}`}
              label={label}
              type={type}
              {...(type === 'number' && { min: 0, step: 'any' })}
              list={type === 'text' ? `known-${name}` : undefined}
              defaultValue={filter[name] ?? ''}
              onBlur={({ currentTarget: { value } }) => {
                if (value !== (filter[name] ?? '')) onChange({ [name]: value || undefined })
              }}
              onKeyDown={({ key, currentTarget }) => key === 'Enter' && currentTarget.blur()}
            />
          ))}
          {FIELDS.filter(([, , type]) => type === 'text').map(([name]) => (
            <datalist key={name} id={`known-${name}`}>
              {valuesOf(runs, name).map((value) => (
                <option key={value} value={value} />
              ))}
            </datalist>
          ))}
          <TagsInput
            label="Tags, all of them"
            value={[...(filter.tag ?? [])]}
            data={[...new Set(runs.flatMap(({ tags = [] }) => tags))].toSorted()}
            onChange={(tag) => onChange({ tag: tag.length > 0 ? tag : undefined })}
            comboboxProps={{ withinPortal: false }}
          />
        </Stack>
      </Popover.Dropdown>
    </Popover>
  )
}

/** The filters that are set apart from status and text, each to be removed. */
function Chosen({ filter, onChange }: Omit<Props, 'runs'>) {
  const texts = FIELDS.flatMap(([name]) => {
    const value = filter[name]
    return value === undefined ? [] : [{ name, value, without: { [name]: undefined } }]
  })
  const tags = (filter.tag ?? []).map((value) => {
    const rest = filter.tag?.filter((each) => each !== value) ?? []
    return { name: 'tag', value, without: { tag: rest.length > 0 ? rest : undefined } }
  })
  const all = [...texts, ...tags]
  if (all.length === 0) return null
  return (
    <Pill.Group className={classes.chosen}>
      {all.map(({ name, value, without }) => (
        <Pill
          key={`${name} ${value}`}
          withRemoveButton
          onRemove={() => onChange(without)}
          removeButtonProps={{ 'aria-label': `Remove the filter ${value}`, tabIndex: 0 }}
        >
          {LABELS.get(name) ?? 'Tag'}: {value}
        </Pill>
      ))}
    </Pill.Group>
  )
}
