"""The pages, as an app that Airflow's API server mounts. Read-only, and for who is logged in to Airflow."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep  # noqa: TC002 - FastAPI reads annotations
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request, status
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from kai_airflow.ui.board import Board
from kai_airflow.ui.messages import messages
from kai_airflow.ui.products import products
from kai_airflow.ui.rendering import messages_page, products_page
from kai_airflow.ui.shelf import Left, Shelf, run_of, shelf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
PREFIX = "/kai"
_FOLDER = Path(__file__).parent


@asynccontextmanager
async def _living(_: FastAPI) -> AsyncIterator[None]:
    yield
    await board.close()


board = Board()
app = FastAPI(title="KAI", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_living)
app.mount("/static", StaticFiles(directory=_FOLDER / "static"))


def _shelf(user: GetUserDep, session: SessionDep) -> Shelf:
    return shelf(session, get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))


@app.get("/")
async def show_products(shelf: Annotated[Shelf, Depends(_shelf)]) -> Response:
    """The first page."""
    look = await board.look()
    return HTMLResponse(products_page(products(look, shelf), look.troubles), headers=HEADERS)


def _tasks(dag_id: str, run_id: str, session: SessionDep) -> dict[str, Left]:
    return run_of(session, dag_id, run_id)


@app.get("/messages", dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.XCOM))])
async def show_messages(
    dag_id: str, run_id: str, task_id: str, tasks: Annotated[dict[str, Left], Depends(_tasks)]
) -> Response:
    """What a task of a run was fed and what it published."""
    if task_id not in tasks:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"no task {task_id!r} of run {run_id!r} of {dag_id!r}")
    workflow = (await board.look()).workflows.get(dag_id)
    process = next((one for one in workflow.processes if one.name == task_id), None) if workflow else None
    page = messages_page(dag_id, run_id, task_id, messages(tasks, task_id, process))
    return HTMLResponse(page, headers=HEADERS)


@app.exception_handler(HTTPException)
async def refused(request: Request, error: HTTPException) -> Response:
    """Who isn't logged in is sent to do so, and comes back."""
    if error.status_code != status.HTTP_401_UNAUTHORIZED:
        return await http_exception_handler(request, error)
    login = f"{request.scope['root_path'].removesuffix(PREFIX)}/api/v2/auth/login"
    return RedirectResponse(f"{login}?{urlencode({'next': str(request.url)})}", status.HTTP_303_SEE_OTHER)
