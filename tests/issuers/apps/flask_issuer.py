"""A Flask application that signs in with Flask-JWT-Extended. Reads JWT_SECRET_KEY."""

import os

from flask import Flask, abort, jsonify, request
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    get_jwt_identity,
    jwt_required,
)

from serving import serve

app = Flask(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
JWTManager(app)

PASSWORDS = {"ann": "a password of Ann's"}


@app.post("/login")
def login():
    name, password = request.json["username"], request.json["password"]
    if PASSWORDS.get(name) != password:
        abort(401)
    return jsonify(
        access=create_access_token(identity=name, fresh=True),
        refresh=create_refresh_token(identity=name),
    )


@app.post("/refresh")
@jwt_required(refresh=True)
def refresh():
    return jsonify(access=create_access_token(identity=get_jwt_identity()))


serve(app, user="ann")
