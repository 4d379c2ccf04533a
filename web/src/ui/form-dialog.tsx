import { Alert, Button, Group, Modal, Stack } from '@mantine/core'
import type { UseMutationResult } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { messageOf } from '../api/problem.ts'
import classes from './form-dialog.module.css'

type Props = {
  readonly title: string
  readonly size?: 'md' | 'lg'
  readonly onClose: () => void
  readonly sending: UseMutationResult<unknown, Error, void>
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
  return (
    <Modal opened onClose={onClose} title={title} size={size}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          sending.mutate()
        }}
      >
        <Stack>
          {props.children}
          {sending.isError && (
            <Alert color="red" variant="light" role="alert">
              {messageOf(sending.error)}
            </Alert>
          )}
          <Group justify="flex-end" className={classes.foot}>
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
