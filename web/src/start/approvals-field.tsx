import { Checkbox, Select, SimpleGrid, Text, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { serverRulesQuery } from '../api/queries.ts'
import { type FormOf, textField } from '../ui/field.ts'
import { visible } from '../ui/foreign-text.ts'
import { NumberField } from '../ui/number-field.tsx'
import type { Draft } from './draft.ts'
import { RowsField } from './rows-field.tsx'
import { ACTIONS, emptyRule, type RuleDraft, ruleText } from './rule-draft.ts'
import { Section } from './section.tsx'
import classes from './start-form.module.css'

/** Rules for the calls of the run, in order, and the rules of the server, which hold too. */
export function ApprovalsField({ value, onChange, problem }: FormOf<Pick<Draft, 'approvals'>>) {
  return (
    <Section title="Approvals">
      <ServerRules />
      <RowsField
        items={value.approvals}
        onChange={(approvals) => onChange({ approvals })}
        make={emptyRule}
        nameOf={(index) => `Rule ${index + 1}`}
        addLabel="Add a rule"
        description="The first rule that fits a call decides. If none fits, the call is allowed. * is any text."
        ordered
        problem={problem('approvals', 'exact')}
      >
        {(rule, change, index) => (
          <Rule
            value={rule}
            onChange={change}
            problem={(inner) => problem(`approvals.${index}.${inner}`)}
          />
        )}
      </RowsField>
    </Section>
  )
}

function ServerRules() {
  const rules = useQuery(serverRulesQuery).data ?? []
  if (rules.length === 0) return null
  return (
    <div data-testid="server-rules">
      <Text size="sm" c="dimmed">
        The server has rules for every run, too. The stricter rule decides:
      </Text>
      <ol className={classes.rules}>
        {rules.map((rule, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: the place of a rule is its name
          <li key={index}>{visible(ruleText(rule))}</li>
        ))}
      </ol>
    </div>
  )
}

const CONDITIONS = [
  ['tool', 'Tool', 'bash_exec or file_*'],
  ['command', 'Command', 'git push *'],
  ['path', 'Path', 'src/**'],
  ['mcp_server', 'MCP server', 'github'],
] as const

function Rule(form: FormOf<RuleDraft>) {
  const { value: rule, onChange, problem } = form
  return (
    <>
      <SimpleGrid cols={{ base: 1, xs: 2 }}>
        <Select
          label="A call that fits"
          data={ACTIONS.map(({ value, label }) => ({ value, label }))}
          value={rule.action}
          onChange={(chosen) => {
            const action = ACTIONS.find(({ value }) => value === chosen)?.value ?? 'ask'
            onChange({ action })
          }}
          error={problem('action')}
          allowDeselect={false}
        />
        {rule.action === 'ask' && (
          <Checkbox
            className={classes.by}
            label="Not by the person who starts the run"
            checked={rule.isByOther}
            onChange={(event) => onChange({ isByOther: event.currentTarget.checked })}
            error={problem('by')}
          />
        )}
      </SimpleGrid>
      <SimpleGrid cols={{ base: 1, xs: 2, sm: 3 }}>
        {CONDITIONS.map(([name, label, placeholder]) => (
          <TextInput
            key={name}
            label={label}
            placeholder={placeholder}
            {...textField(name, form)}
            spellCheck={false}
          />
        ))}
        <NumberField
          name="cost_above_usd"
          form={form}
          label="Cost above"
          placeholder="5"
          prefix="$"
          min={0}
          decimalScale={4}
        />
      </SimpleGrid>
      <TextInput
        label="Why"
        description="Optional. The person who answers and the model read it."
        {...textField('reason', form)}
      />
    </>
  )
}
