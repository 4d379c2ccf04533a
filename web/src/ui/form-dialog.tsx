import { Alert, Button, Group, Modal, Stack } from '@mantine/core'
import type { UseMutationResult } from '@tanstack/react-query'
import { type ReactNode, useEffect, useRef, useState } from 'react'
import { messageOf } from '../api/problem.ts'

type Props = {
  readonly title: string
  readonly size?: 'md' | 'lg'
  readonly onClose: () => void
  readonly sending: Pick<UseMutationResult<unknown, Error, void>, 'error' | 'isPending'> & {
    mutate(): void
  }
  /** What the button says that sends the form, and the one that leaves it. */
  readonly labels: { readonly send: string; readonly leave?: string }
  readonly isGrave?: boolean
  /** Whether the form cannot be sent as it is. */
  readonly disabled?: boolean
  readonly children: ReactNode
}

/** A dialog with a form, its buttons, and why it could not be sent. */
export function FormDialog(props: Props) {
  const { title, size = 'md', onClose, sending, labels, isGrave = false, disabled = false } = props
  const form = useRef<HTMLFormElement>(null)
  useFocusReturn()
  useEffect(() => {
    if (sending.error !== null) focusProblem(form.current)
  }, [sending.error])
  return (
    <Modal opened onClose={onClose} title={title} size={size}>
      <form
        ref={form}
        onSubmit={(event) => {
          event.preventDefault()
          sending.mutate()
        }}
      >
        <Stack>
          {props.children}
          {sending.error !== null && (
            <Alert color="red" variant="light" role="alert" tabIndex={-1}>
              {messageOf(sending.error)}
            </Alert>
          )}
          <Group justify="flex-end" className="dialog-foot">
            <Button variant="default" onClick={onClose}>
              {labels.leave ?? 'Cancel'}
            </Button>
            <Button
              type="submit"
              {...(isGrave ? { color: 'red.8' } : {})}
              loading={sending.isPending}
              disabled={disabled}
            >
              {labels.send}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  )
}

/** Gives the focus back to what had it when the dialog opened. Mantine does so only for dialogs that stay mounted. */
export function useFocusReturn(): void {
  const [before] = useState(() => document.activeElement)
  useEffect(
    () => () => {
      if (before instanceof HTMLElement) before.focus({ preventScroll: true })
    },
    [before],
  )
}

const FIELDS = 'input:not([type="hidden"]), textarea, [role="radio"][tabindex="0"], button'

/** Puts the focus on the first field with a problem, or, if it is in no field, on the reason why the form was not sent. */
function focusProblem(form: HTMLFormElement | null): void {
  const problem = form?.querySelector('.mantine-InputWrapper-error')
  const field = problem?.closest('.mantine-InputWrapper-root') ?? problem?.parentElement
  const target = field?.querySelector<HTMLElement>(FIELDS) ?? form?.querySelector('[role="alert"]')
  if (target instanceof HTMLElement) target.focus({ preventScroll: true })
  ;(problem ?? target)?.scrollIntoView({ block: 'center' })
}
